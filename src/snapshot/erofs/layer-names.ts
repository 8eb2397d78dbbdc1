import { BerthError } from '../../lib/error.ts'
import { S_IFDIR } from '../../linux/open-flags.ts'
import { printName } from '../entry-path.ts'
import { fileType } from './erofs-directory.ts'
import type { InodeFacts } from './erofs-image.ts'

/** What a name stands for: a directory, or an inode as its nid and type in one number, of which layers have millions. */
export type Name = LayerDirectory | number

const TYPES = 8

/** The nid in a {@link Name}. */
export function nidOf(name: number): number {
  return Math.floor(name / TYPES)
}

/** The type in a {@link Name}, as directories have it. */
export function typeOf(name: number): number {
  return name % TYPES
}

/** As the composer and berth-init make directories that have no entry. */
const IMPLIED: InodeFacts = {
  mode: S_IFDIR | 0o755,
  uid: 0,
  gid: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  linkCount: 2,
  xattrs: new Map(),
}

/** A directory of a layer in the making. */
export class LayerDirectory {
  readonly names = new Map<string, Name>()
  readonly parent: LayerDirectory
  facts: InodeFacts = IMPLIED

  constructor(parent: LayerDirectory | null) {
    this.parent = parent ?? this
  }
}

/** path_resolution(7). */
const LINKS_LIMIT = 40

/** The names of a layer, resolved as openat2(RESOLVE_IN_ROOT) would in a directory that has them: links lead nowhere but into the layer. */
export class LayerNames {
  readonly root: LayerDirectory = new LayerDirectory(null)
  readonly #targets = new Map<number, string>()
  /** Entries come directory by directory. */
  #last: { readonly path: string; readonly directory: LayerDirectory } | null = null

  /** The directory of a path, made when missing with those it is in. @throws {BerthError} invalidArgument: there is something else */
  make(path: string): LayerDirectory {
    if (this.#last?.path === path) return this.#last.directory
    const directory = this.#resolve(path, true)
    if (directory === null) throw misplaced(path, 'it leads through what is no directory')
    this.#last = { path, directory }
    return directory
  }

  /** The directory of a path, null when it is none; links before its last component are followed. */
  find(path: string): LayerDirectory | null {
    const slash = path.lastIndexOf('/')
    const parent = this.#resolve(slash < 0 ? '' : path.slice(0, slash), false)
    if (path === '' || parent === null) return parent
    const found = parent.names.get(path.slice(slash + 1))
    return typeof found === 'object' ? found : null
  }

  /** Like {@link find}, with a link as last component followed too. */
  follow(path: string): LayerDirectory | null {
    return this.#resolve(path, false)
  }

  /** Makes a directory where none is. */
  directory(parent: LayerDirectory, name: string): void {
    if (typeof parent.names.get(name) === 'object') return
    this.remove(parent, name)
    parent.names.set(name, new LayerDirectory(parent))
  }

  /** Gives an inode a name, in the place of whatever had it. */
  put(parent: LayerDirectory, name: string, mode: number, nid: number): void {
    this.remove(parent, name)
    parent.names.set(name, nid * TYPES + fileType(mode))
  }

  /** Where a symbolic link leads. */
  setTarget(nid: number, target: string): void {
    this.#targets.set(nid, target)
  }

  remove(parent: LayerDirectory, name: string): void {
    if (typeof parent.names.get(name) === 'object') this.#last = null
    parent.names.delete(name)
  }

  /** All directories, parents first. */
  *directories(): Generator<LayerDirectory> {
    const waiting = [this.root]
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      yield next
      for (const each of next.names.values()) if (typeof each === 'object') waiting.push(each)
    }
  }

  #resolve(path: string, isMaking: boolean): LayerDirectory | null {
    let at = this.root
    let linkCount = 0
    const rest = componentsOf(path)
    for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
      if (name === '..') {
        at = at.parent
        continue
      }
      let found = at.names.get(name)
      if (found === undefined && isMaking) {
        found = new LayerDirectory(at)
        at.names.set(name, found)
      }
      const target = typeof found === 'number' ? this.#targets.get(nidOf(found)) : undefined
      if (target !== undefined) {
        linkCount++
        if (linkCount > LINKS_LIMIT) throw misplaced(path, 'it leads through too many links')
        if (target.startsWith('/')) at = this.root
        rest.push(...componentsOf(target))
      } else if (typeof found === 'object') at = found
      else return null
    }
    return at
  }
}

/** Last first. */
function componentsOf(path: string): string[] {
  return path
    .split('/')
    .filter(each => each !== '' && each !== '.')
    .reverse()
}

function misplaced(path: string, why: string): BerthError {
  return new BerthError('invalidArgument', `Cannot unpack entry ${printName(path)}: ${why}`)
}

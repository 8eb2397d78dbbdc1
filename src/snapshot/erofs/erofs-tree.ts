import { BerthError } from '../../lib/error.ts'
import { S_IFDIR, S_IFLNK, S_IFREG } from '../../linux/open-flags.ts'
import type { ENTRY_KINDS, EntryFields, EntrySink } from '../entry-encoder.ts'
import { parentOf, printName } from '../entry-path.ts'
import type { WriteAt } from './block-stream.ts'
import { directoryBlocks, directoryBytes, type ErofsName, fileType } from './erofs-directory.ts'
import { encodeDevice } from './erofs-format.ts'
import { type DirectoryPlace, ErofsImage, type InodeFacts } from './erofs-image.ts'
import { withAttributes } from './file-attributes.ts'
import { type LayerDirectory, LayerNames, type Name, nidOf, typeOf } from './layer-names.ts'

/** A file whose content comes. */
interface OpenFile {
  readonly directory: LayerDirectory
  readonly name: string
  readonly facts: InodeFacts
}

const NO_TIME = { seconds: 0, nanoseconds: 0 }
const NO_XATTRS: ReadonlyMap<string, string> = new Map()

/**
 * The other end of a LayerComposer, in place of berth-init: makes of its entries one EROFS image instead of a directory, with the same
 * meaning. Content goes to the image as it comes; names stay in memory until the end. What a later entry replaces stays in the image,
 * without a name.
 */
export class ErofsTree implements EntrySink {
  readonly #image: ErofsImage
  readonly #names = new LayerNames()
  /** The inodes that got a second name. */
  readonly #linked = new Map<number, number>()
  #file: OpenFile | null = null

  constructor(write: WriteAt) {
    this.#image = new ErofsImage(write)
  }

  /** @throws {BerthError} invalidArgument: the entry has no place; unavailable: the image gets too large */
  entry(kind: keyof typeof ENTRY_KINDS, path: string, fields: EntryFields = {}): void {
    if (kind === 'end') return
    if (kind === 'attributes') {
      const directory = this.#names.find(path === '.' ? '' : path)
      // A later entry may have taken the directory's place, through a link so that the composer could not know.
      if (directory !== null) directory.facts = factsOf(S_IFDIR | (fields.mode ?? 0), fields)
      return
    }
    if (kind === 'parent') {
      this.#names.make(path)
      return
    }
    const directory = this.#names.make(parentOf(path))
    const name = path.slice(path.lastIndexOf('/') + 1)
    if (kind === 'link') this.#link(directory, name, path, fields.target ?? '')
    else if (kind === 'directory') this.#names.directory(directory, name)
    else if (kind === 'whiteout' && directory.names.has(name)) return
    else this.#add(kind, directory, name, fields)
  }

  chunk(offset: number, bytes: Uint8Array): void {
    this.#image.content(offset, bytes)
  }

  endOfFile(sizeBytes: number): void {
    if (this.#file === null) return
    const { directory, name, facts } = this.#file
    this.#file = null
    this.#names.put(directory, name, facts.mode, this.#image.file(facts, sizeBytes))
  }

  /** Completes the image; its size. @throws {BerthError} unavailable: it is too large */
  finish(uuid: Uint8Array): number {
    this.#image.beginDirectories()
    const places = new Map<LayerDirectory, DirectoryPlace>()
    for (const directory of this.#names.directories()) {
      const names = sortedNames(directory)
      const facts = { ...directory.facts, linkCount: 2 + names.filter(name => isDirectory(directory, name)).length }
      places.set(directory, this.#image.placeDirectory(facts, directoryBytes(names), directory === this.#names.root))
    }
    let count = 0
    for (const [directory, place] of places) {
      count += directory.names.size
      this.#image.directory(place, directoryBlocks(this.#namesOf(directory, places)))
    }
    for (const [nid, linkCount] of this.#linked) this.#image.setLinkCount(nid, linkCount)
    const twice = [...this.#linked.values()].reduce((sum, links) => sum + Math.max(0, links - 1), 0)
    return this.#image.finish(uuid, 1 + count - twice)
  }

  #add(
    kind: 'file' | 'symlink' | 'node' | 'whiteout',
    directory: LayerDirectory,
    name: string,
    fields: EntryFields,
  ): void {
    const { mode = 0, major = 0, minor = 0, target = '' } = fields
    if (kind === 'file') {
      this.#names.remove(directory, name)
      this.#file = { directory, name, facts: factsOf(S_IFREG | mode, fields) }
    } else if (kind === 'symlink') {
      const facts = factsOf(S_IFLNK | 0o777, fields)
      const nid = this.#image.symlink(facts, Buffer.from(target, 'latin1'))
      this.#names.put(directory, name, facts.mode, nid)
      this.#names.setTarget(nid, target)
    } else {
      this.#names.put(directory, name, mode, this.#image.node(factsOf(mode, fields), encodeDevice(major, minor)))
    }
  }

  #link(directory: LayerDirectory, name: string, path: string, target: string): void {
    const found = this.#targetOf(path, target)
    if (directory.names.get(name) === found) return
    this.#names.remove(directory, name)
    // What was removed may have held the target.
    directory.names.set(name, this.#targetOf(path, target))
    this.#linked.set(nidOf(found), 0)
  }

  #targetOf(path: string, target: string): number {
    const found = this.#names.follow(parentOf(target))?.names.get(target.slice(target.lastIndexOf('/') + 1))
    if (typeof found === 'number') return found
    const why = found === undefined ? 'is not there' : 'is a directory'
    throw new BerthError(
      'invalidArgument',
      `Cannot unpack entry ${printName(path)}: ${printName(target)}, to which it is a hard link, ${why}`,
    )
  }

  /** The names of a directory, sorted; counts those of linked files. */
  #namesOf(directory: LayerDirectory, places: ReadonlyMap<LayerDirectory, DirectoryPlace>): readonly ErofsName[] {
    return sortedNames(directory).map(name => {
      const found = nameIn(directory, name)
      if (typeof found !== 'number') return { name, nid: places.get(found)?.nid ?? 0, type: fileType(S_IFDIR) }
      const nid = nidOf(found)
      const links = this.#linked.get(nid)
      if (links !== undefined) this.#linked.set(nid, links + 1)
      return { name, nid, type: typeOf(found) }
    })
  }
}

function factsOf(mode: number, { uid = 0, gid = 0, mtime = NO_TIME, xattrs = NO_XATTRS }: EntryFields): InodeFacts {
  return withAttributes({ mode, uid, gid, mtime, linkCount: 1, xattrs })
}

function sortedNames(directory: LayerDirectory): readonly string[] {
  return ['.', '..', ...directory.names.keys()].sort(byBytes)
}

/** The chars are bytes. */
function byBytes(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0
}

function nameIn(directory: LayerDirectory, name: string): Name {
  if (name === '.') return directory
  return name === '..' ? directory.parent : (directory.names.get(name) ?? directory)
}

function isDirectory(directory: LayerDirectory, name: string): boolean {
  return typeof directory.names.get(name) === 'object'
}

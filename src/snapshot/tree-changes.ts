import type { Segment } from '../lib/tar/header.ts'
import { S_IFMT } from '../linux/open-flags.ts'
import { WithoutFuseMarks } from './fuse-marks.ts'
import { containerId, type IdShift, shiftXattr } from './id-shift.ts'
import { overlayMark } from './overlay-marks.ts'
import { readNames, readTree, type TreeSink } from './pack-process.ts'
import { isPortableXattr } from './portable-xattrs.ts'
import { SeedView } from './seed-view.ts'
import { type FileFacts, isDirectory, isMountPoint, type TreeEntry } from './tree-entry.ts'
import { type VeilPath, VeilView } from './veil-view.ts'

/** Something in which a container differs from its image. */
export interface Change {
  readonly kind: 'added' | 'changed' | 'deleted'
  /** Absolute inside the container; a byte string. */
  readonly path: string
}

/** The layers of a container. */
export interface ContainerLayers {
  /** Its own changes: an absolute path. */
  readonly upper: string
  /** What they are changes of, topmost first. */
  readonly lowers: readonly string[]
  /** Null: it has the ids of the host. */
  readonly ids: IdShift | null
  /** What was put into `upper` for it, and is no change of its own. */
  readonly veil: readonly VeilPath[]
  /** fuse-overlayfs has left its own marks in `upper`. */
  readonly hasFuseMarks?: boolean
  /** The layer that `upper` began with: absolute. What is as it was in it is no change. */
  readonly seed?: string
}

/**
 * In what a container differs from its image, in the order of paths. As docker has it, a directory is changed when its attributes are, or
 * when anything in it is; a file is when attributes, size or time are. Deleted directories are one change.
 * @throws {StepError} something can't be read
 */
export async function readChanges(layers: ContainerLayers, signal?: AbortSignal): Promise<readonly Change[]> {
  const seed = layers.seed === undefined ? null : await SeedView.read(layers.seed, signal)
  const lister = new ChangeLister(layers, seed)
  const root = { kind: 'directory', path: layers.upper } as const
  const sink = layers.hasFuseMarks === true ? new WithoutFuseMarks(lister) : lister
  await readTree({ root, lowers: layers.lowers, withContent: false }, sink, signal)
  const { replaced } = lister
  const veil = new VeilView(layers.veil)
  const names = await readNames(layers.lowers, [...replaced.keys()], signal)
  for (const [path, own] of replaced)
    for (const name of names.get(path) ?? [])
      if (!own.has(name) && veil.shows(`${path}/${name}`) && seed?.removes(`${path}/${name}`) !== true)
        lister.changes.push({ kind: 'deleted', path: `/${path}/${name}` })
  if (seed !== null) addGone(seed.gone(lister.seen), lister.changes)
  return lister.changes.sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** What the upper directory has lost of the layer that it began with, and the directories that have lost it. */
function addGone(paths: readonly string[], changes: Change[]): void {
  const told = new Set(changes.map(({ path }) => path))
  const add = (kind: Change['kind'], path: string): void => {
    if (told.has(path)) return
    told.add(path)
    changes.push({ kind, path })
  }
  for (const path of paths) {
    add('deleted', `/${path}`)
    for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1))
      add('changed', `/${path.slice(0, slash)}`)
  }
}

/** Compares what is in an upper directory with what the layers have in its place. */
class ChangeLister implements TreeSink {
  readonly isFull = false
  readonly changes: Change[] = []
  /** Directories that hide those of lower layers, with the names in them. */
  readonly replaced = new Map<string, Set<string>>()
  /** What was told of an upper directory that began with a layer; empty for others. */
  readonly seen = new Map<string, 'directory' | 'other'>()
  readonly #ids: IdShift | null
  readonly #veil: VeilView
  readonly #seed: SeedView | null
  /** Directories that are changed only if something in them is. */
  #held: Change[] = []
  /** Nothing of lower layers is seen below this one. */
  #opaque: string | null = null

  constructor({ ids, veil }: ContainerLayers, seed: SeedView | null) {
    this.#ids = ids
    this.#seed = seed
    this.#veil = new VeilView(veil)
  }

  entry(entry: TreeEntry): void {
    const { path } = entry
    if (this.#seed !== null) this.seen.set(path, isDirectory(entry) ? 'directory' : 'other')
    if (path === '') return
    const slash = path.lastIndexOf('/')
    this.replaced.get(path.slice(0, Math.max(slash, 0)))?.add(path.slice(slash + 1))
    this.#held = this.#held.filter(each => `/${path}`.startsWith(`${each.path}/`))
    if (this.#opaque !== null && !path.startsWith(`${this.#opaque}/`)) this.#opaque = null
    const machine = this.#veil.shows(path) ? entry.lower : null
    const lower = this.#seed === null ? machine : this.#seed.at(path, machine)
    const mark = overlayMark(entry)
    if (mark === 'whiteout') {
      if (lower !== null) this.#add('deleted', path)
    } else if (lower === null && this.#veil.find(path) === 'mount' && isMountPoint(entry)) {
      if (isDirectory(entry)) this.#held.push({ kind: 'added', path: `/${path}` })
    } else if (lower === null) this.#add('added', path)
    else if (isDirectory(entry) && isDirectory(lower)) this.#directory(entry, lower, mark === 'opaque')
    else if (this.#differs(entry, lower) || !isSameContent(entry, lower)) this.#add('changed', path)
  }

  #directory(entry: TreeEntry, lower: FileFacts, isOpaque: boolean): void {
    const { path } = entry
    const isReplaced = (isOpaque || this.#opaque !== null) && this.#showsBelow(entry)
    if (isReplaced) {
      this.#opaque ??= path
      this.replaced.set(path, new Set())
    }
    if (isReplaced || this.#differs(entry, lower)) this.#add('changed', path)
    else this.#held.push({ kind: 'changed', path: `/${path}` })
  }

  /** Whether the container saw in a directory what lower layers have in it. */
  #showsBelow({ path, lower }: TreeEntry): boolean {
    if (!this.#veil.showsBelow(path)) return false
    return this.#seed === null || (lower !== null && isDirectory(lower) && !this.#seed.hides(path))
  }

  #add(kind: Change['kind'], path: string): void {
    this.changes.push(...this.#held.splice(0))
    this.changes.push({ kind, path: `/${path}` })
  }

  #differs(own: FileFacts, lower: FileFacts): boolean {
    return (
      own.mode !== lower.mode ||
      containerId(own.uid, this.#ids) !== lower.uid ||
      containerId(own.gid, this.#ids) !== lower.gid ||
      xattrText(own, this.#ids) !== xattrText(lower, null)
    )
  }

  segment(_: Segment): void {}
  data(_: Uint8Array): void {}
  missing(_: number): void {}
  end(_: boolean): void {}
  async drain(): Promise<void> {}
}

function isSameContent(own: FileFacts, lower: FileFacts): boolean {
  return (
    (own.mode & S_IFMT) === (lower.mode & S_IFMT) &&
    own.sizeBytes === lower.sizeBytes &&
    own.mtime.seconds === lower.mtime.seconds &&
    own.mtime.nanoseconds === lower.mtime.nanoseconds &&
    own.major === lower.major &&
    own.minor === lower.minor
  )
}

/** The attributes that belong to a file, in a form that can be compared. */
function xattrText({ xattrs }: FileFacts, ids: IdShift | null): string {
  const kept = [...xattrs].filter(([name]) => isPortableXattr(name))
  if (kept.length === 0) return ''
  return JSON.stringify(kept.map(([name, value]) => [name, shiftXattr(name, value, ids)]).sort())
}

import { BerthError } from '../lib/error.ts'
import type { TarEntryType } from '../lib/tar/entry.ts'
import type { Segment } from '../lib/tar/header.ts'
import type { Timestamp } from '../lib/tar/pax.ts'
import { type TarInput, TarWriter } from '../lib/tar/writer.ts'
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from '../linux/open-flags.ts'
import type { ByteWriter } from './block-gzip.ts'
import { printName } from './entry-path.ts'
import { containerId, type IdShift, shiftXattr } from './id-shift.ts'
import { type OverlayMark, overlayMark } from './overlay-marks.ts'
import type { TreeSink } from './pack-process.ts'
import { isPortableXattr } from './portable-xattrs.ts'
import { isDirectory, isMountPoint, type TreeEntry } from './tree-entry.ts'
import { type VeilPath, VeilView } from './veil-view.ts'

/** What is made of a tree. */
export interface PackOptions {
  /** `layer`: an upper directory as the changes it makes to its lower layers; `tree`: files as they are seen. */
  readonly form: 'layer' | 'tree'
  readonly ids: IdShift | null
  /** What was put into the upper directory for the container and is no change of its own. */
  readonly veil: readonly VeilPath[]
  /** Times after this moment become this moment (SOURCE_DATE_EPOCH); null: they stay. */
  readonly latestSeconds: number | null
  /** Told what could not be kept. */
  readonly warn: (message: string) => void
}

const TYPES: ReadonlyMap<number, TarEntryType> = new Map([
  [S_IFREG, 'file'],
  [S_IFDIR, 'directory'],
  [S_IFLNK, 'symlink'],
  [S_IFCHR, 'character'],
  [S_IFBLK, 'block'],
  [S_IFIFO, 'fifo'],
])

const SEND_BYTES = 256 * 1024
/** Holes are written as zeros in pieces of this size, the smaller ones at once. */
const ZEROS_BYTES = 256 * 1024
/**
 * From this much of holes on a file is written as a sparse one. The image-spec advises against it (layer.md, Sparse Files: support
 * varies), so that what any reader takes is written where it costs nothing; but gigabytes of zeros cost minutes.
 */
const SPARSE_FROM_BYTES = 64 * 1024 * 1024
const WHITEOUT_PREFIX = '.wh.'
const OPAQUE_NAME = '.wh..wh..opq'
/** What an id is shown as that has none where it is looked at. */
const OVERFLOW_ID = 65_534
const WARNINGS_LIMIT = 20
const ROOT_MODE = 0o755
const EPOCH: Timestamp = { seconds: 0, nanoseconds: 0 }

/**
 * Makes a tar archive of a tree: all that is decided about it is decided here. The same tree gives the same bytes.
 * What cannot be said in an archive of that form is an error that names the file; sockets are left out, with a warning, as tar does.
 */
export class TreePacker implements TreeSink {
  readonly #options: PackOptions
  readonly #write: ByteWriter
  readonly #writer = new TarWriter()
  readonly #veil: VeilView
  readonly #firstNames = new Map<string, string>()
  readonly #warned = new Set<string>()
  /** Directories that are written only when something in them is. */
  #held: TarInput[] = []
  #entryCount = 0
  #contentBytes = 0
  #path = ''
  #isKept = false
  #isSparse = false
  #position = 0
  #sizeBytes = 0
  #owedZeros = 0

  constructor(options: PackOptions, write: ByteWriter) {
    this.#options = options
    this.#write = write
    this.#veil = new VeilView(options.veil)
  }

  get isFull(): boolean {
    return this.#owedZeros > 0 || this.#writer.length >= SEND_BYTES
  }

  /** How many entries the archive has so far. */
  get entryCount(): number {
    return this.#entryCount
  }

  /** The sizes of its files, holes included. */
  get contentBytes(): number {
    return this.#contentBytes
  }

  async drain(): Promise<void> {
    do {
      const zeros = Math.min(this.#owedZeros, ZEROS_BYTES)
      this.#owedZeros -= zeros
      this.#writer.zeros(zeros)
      await this.#write(this.#writer.take())
    } while (this.#owedZeros > 0)
  }

  /** Ends the archive. */
  async finish(): Promise<void> {
    this.#writer.finish()
    await this.drain()
  }

  /** @throws {BerthError} invalidArgument, notImplemented: it has no place in such an archive */
  entry(entry: TreeEntry): void {
    this.#path = entry.path
    this.#isKept = false
    this.#held = this.#held.filter(({ name }) => entry.path.startsWith(name))
    const mark = this.#options.form === 'layer' ? overlayMark(entry) : 'none'
    const veil = this.#veil.find(entry.path)
    if (mark === 'whiteout') {
      if (veil !== 'hidden') this.#whiteout(entry)
      return
    }
    this.#check(entry, mark)
    const type = TYPES.get(entry.mode & S_IFMT)
    if (type === undefined) {
      this.#warn('socket', `left out ${printName(entry.path)}: it is a socket`)
      return
    }
    const first = entry.identity === '' ? undefined : this.#firstNames.get(entry.identity)
    const input = first === undefined ? this.#input(entry, type) : this.#link(entry, first)
    const isReplaced = mark === 'opaque' && this.#isVisibleBelow(entry)
    if (!isReplaced && this.#isAsMade(entry, input, veil)) {
      if (type === 'directory' && entry.path !== '') this.#held.push(input)
      return
    }
    if (first === undefined && entry.identity !== '') this.#firstNames.set(entry.identity, entry.path)
    this.#add(input)
    if (isReplaced) this.#marker(`${input.name}${OPAQUE_NAME}`)
    if (first === undefined && type === 'file') this.#begin(entry)
  }

  segment({ offset, bytes }: Segment): void {
    if (this.#isKept && !this.#isSparse) this.#owe(offset - this.#position)
    this.#position = offset + bytes
  }

  data(bytes: Uint8Array): void {
    if (this.#isKept) this.#writer.data(bytes)
  }

  missing(bytes: number): void {
    if (!this.#isKept) return
    this.#owe(bytes)
    this.#warn(
      this.#path,
      `${printName(this.#path)} became ${bytes} bytes shorter while it was read: zeros take their place`,
    )
  }

  end(hasChanged: boolean): void {
    if (!this.#isKept) return
    if (!this.#isSparse) this.#owe(this.#sizeBytes - this.#position)
    if (hasChanged) this.#warn(this.#path, `${printName(this.#path)} changed while it was read`)
  }

  #begin({ segments, sizeBytes }: TreeEntry): void {
    this.#isKept = true
    this.#isSparse = isSparse(segments ?? [], sizeBytes)
    this.#position = 0
    this.#sizeBytes = sizeBytes
  }

  #owe(zeros: number): void {
    if (this.#owedZeros === 0 && zeros <= ZEROS_BYTES) this.#writer.zeros(zeros)
    else this.#owedZeros += zeros
  }

  #add(input: TarInput): void {
    for (const each of this.#held.splice(0)) this.#add(each)
    this.#writer.entry(input)
    this.#entryCount++
    this.#contentBytes += input.sizeBytes
  }

  #check({ path }: TreeEntry, mark: OverlayMark): void {
    if (this.#options.form !== 'layer') return
    const isWhiteoutName = path.slice(path.lastIndexOf('/') + 1).startsWith(WHITEOUT_PREFIX)
    if (isWhiteoutName) {
      throw new BerthError(
        'invalidArgument',
        `Cannot put ${printName(path)} into a layer: a name that begins with "${WHITEOUT_PREFIX}" means a removed file there`,
      )
    }
    if (mark !== 'redirect' && mark !== 'metacopy') return
    const what = mark === 'redirect' ? 'a renamed directory' : 'a file'
    throw new BerthError(
      'notImplemented',
      `Cannot put ${printName(path)} into a layer: it is ${what} whose content overlayfs left in a lower layer (${mark})`,
    )
  }

  #whiteout({ path }: TreeEntry): void {
    const slash = path.lastIndexOf('/') + 1
    this.#marker(`${path.slice(0, slash)}${WHITEOUT_PREFIX}${path.slice(slash)}`)
  }

  #marker(name: string): void {
    const nothing = { mode: 0, uid: 0, gid: 0, mtime: EPOCH, sizeBytes: 0, devmajor: 0, devminor: 0, linkname: '' }
    this.#add({ ...nothing, type: 'file', name, xattrs: new Map() })
  }

  /** overlayfs marks every directory that it makes; only over one of a lower layer the mark says something. */
  #isVisibleBelow({ path, lower }: TreeEntry): boolean {
    return lower !== null && isDirectory(lower) && this.#veil.showsBelow(path)
  }

  #isAsMade(entry: TreeEntry, { type, mode, uid, gid, xattrs }: TarInput, veil: ReturnType<VeilView['find']>): boolean {
    if (uid !== 0 || gid !== 0 || xattrs.size > 0) return false
    if (veil === 'mount') return isMountPoint(entry)
    if (type !== 'directory') return false
    if (entry.path === '') return mode === ROOT_MODE
    return (veil === 'parent' || veil === 'empty') && mode === this.#veil.modeOf(entry.path)
  }

  #link(entry: TreeEntry, linkname: string): TarInput {
    return { ...this.#input(entry, 'link'), linkname, sizeBytes: 0, xattrs: new Map() }
  }

  #input(entry: TreeEntry, type: TarEntryType): TarInput {
    const { path, segments, sizeBytes, major, minor } = entry
    const isDevice = type === 'character' || type === 'block'
    return {
      type,
      name: type === 'directory' ? `${path === '' ? '.' : path}/` : path,
      linkname: entry.target,
      mode: entry.mode & 0o7777,
      uid: this.#id(entry.uid, 'user', path),
      gid: this.#id(entry.gid, 'group', path),
      mtime: this.#time(entry.mtime),
      sizeBytes: type === 'file' ? sizeBytes : 0,
      devmajor: isDevice ? major : 0,
      devminor: isDevice ? minor : 0,
      xattrs: this.#xattrs(entry),
      ...(type === 'file' && segments !== null && isSparse(segments, sizeBytes) ? { segments } : {}),
    }
  }

  #id(hostId: number, kind: 'user' | 'group', path: string): number {
    const { ids, form } = this.#options
    const id = containerId(hostId, ids)
    if (id !== null) return id
    // A layer's file whose owner the container has no id for: it sees nobody.
    if (form === 'tree' && hostId === OVERFLOW_ID) return OVERFLOW_ID
    const range = ids === null ? '' : `${ids.start} to ${ids.start + ids.size - 1}`
    throw new BerthError(
      'invalidArgument',
      `Cannot pack ${printName(path)}: it belongs to ${kind} ${hostId} of the host, expected one of the container's: ${range}`,
    )
  }

  #time(mtime: Timestamp): Timestamp {
    const { latestSeconds } = this.#options
    return latestSeconds !== null && mtime.seconds >= latestSeconds ? { seconds: latestSeconds, nanoseconds: 0 } : mtime
  }

  #xattrs({ path, xattrs }: TreeEntry): ReadonlyMap<string, string> {
    if (xattrs.size === 0) return xattrs
    const kept = new Map<string, string>()
    for (const [name, value] of xattrs) {
      if (!isPortableXattr(name)) continue
      const shifted = shiftXattr(name, value, this.#options.ids)
      if (shifted !== null && !name.includes('=')) kept.set(name, shifted)
      else this.#warn(name, `left out the attribute ${printName(name)} of ${printName(path)}: ${whyNot(name)}`)
    }
    return kept
  }

  #warn(key: string, message: string): void {
    if (this.#warned.has(key) || this.#warned.size >= WARNINGS_LIMIT) return
    this.#warned.add(key)
    this.#options.warn(message)
  }
}

function isSparse(segments: readonly Segment[], sizeBytes: number): boolean {
  return sizeBytes - segments.reduce((sum, { bytes }) => sum + bytes, 0) >= SPARSE_FROM_BYTES
}

function whyNot(name: string): string {
  return name.includes('=') ? 'no archive can hold its name' : 'it names an id that the container does not have'
}

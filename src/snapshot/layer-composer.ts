import { BerthError } from '../lib/error.ts'
import type { TarEntry } from '../lib/tar/entry.ts'
import type { TarHandler } from '../lib/tar/parser.ts'
import { S_IFBLK, S_IFCHR, S_IFIFO } from '../linux/open-flags.ts'
import { ENTRY_TAIL_LIMIT_BYTES, type EntrySink } from './entry-encoder.ts'
import { parentOf, parseEntryPath, parseMarker, printName } from './entry-path.ts'
import { isPortableXattr } from './portable-xattrs.ts'
import type { UnpackLimits } from './unpack-limits.ts'

/** What a directory gets when all that is in it is there: its content changes its times, and its mode may forbid changes. */
interface DirectoryAttributes {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: { readonly seconds: number; readonly nanoseconds: number }
  readonly xattrs: ReadonlyMap<string, string>
  /** It has no entry of its own, or none yet. */
  readonly isImplied: boolean
  /** Hides what lower layers have in it. */
  readonly isOpaque: boolean
}

/** The time of implied directories is fixed, so that unpacking a layer twice gives the same tree. */
const IMPLIED: DirectoryAttributes = Object.freeze({
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  xattrs: new Map(),
  isImplied: true,
  isOpaque: false,
})

const OVERLAY_OPAQUE = 'trusted.overlay.opaque'
/** Each replaced directory costs a walk through all known ones; real layers replace none. */
const REPLACED_DIRECTORIES_LIMIT = 1000
/** One layer's warnings are for a person to read. */
const WARNINGS_LIMIT = 20

/**
 * Turns the entries of a layer's archive into entries for berth-init, or for an image, in the form that overlayfs reads:
 * a whiteout is a character device 0:0, an opaque directory has `trusted.overlay.opaque=y`.
 * All that is decided about a layer's content is decided here. It holds the names of directories, not those of files,
 * and large pieces of content until they are taken from the sink: until then who pushes them may not change them.
 *
 * Of two entries of the same name the later counts; of a whiteout and something of its name in the same layer both do:
 * the layer's own stays and hides what lower layers have.
 */
export class LayerComposer implements TarHandler {
  readonly #sink: EntrySink
  readonly #limits: UnpackLimits
  readonly #warn: (message: string) => void
  readonly #warned = new Set<string>()
  readonly #directories = new Map<string, DirectoryAttributes>([['', IMPLIED]])
  readonly #whiteouts = new Set<string>()
  #replacedCount = 0
  #entryCount = 0
  #contentBytes = 0
  #isContentKept = false

  constructor(sink: EntrySink, limits: UnpackLimits, warn: (message: string) => void) {
    this.#sink = sink
    this.#limits = limits
    this.#warn = warn
  }

  /** How many entries the archive had. */
  get entryCount(): number {
    return this.#entryCount
  }

  /** The files' sizes, holes included. */
  get contentBytes(): number {
    return this.#contentBytes
  }

  /** Nothing of the layers below this one is to be seen. overlayfs does not look for that mark on a layer's root. */
  get isRootOpaque(): boolean {
    return this.#directories.get('')?.isOpaque === true
  }

  /** @throws {BerthError} invalidArgument: the entry has no place in a layer; unavailable: a limit is exceeded */
  entry(entry: TarEntry): void {
    this.#count(entry)
    this.#isContentKept = false
    const path = parseEntryPath(entry.name)
    const marker = parseMarker(path)
    if (marker.kind === 'aufs') this.#warnOnce('aufs', "left out aufs's own files")
    else if (marker.kind !== 'none') {
      if (entry.type === 'directory') throw unfit(entry, 'a whiteout cannot be a directory')
      this.#implyDirectory(marker.kind === 'opaque' ? marker.path : parentOf(marker.path))
      if (marker.kind === 'opaque') {
        // It may be the only entry in there.
        if (marker.path !== '') this.#sink.entry('parent', marker.path)
        this.#makeOpaque(marker.path)
      }
      if (marker.kind === 'whiteout') this.#whiteout(marker.path)
    } else if (entry.type === 'directory') this.#directory(path, entry)
    else this.#nonDirectory(path, entry)
  }

  data(offset: number, bytes: Uint8Array): void {
    if (this.#isContentKept) this.#sink.chunk(offset, bytes)
  }

  end(entry: TarEntry): void {
    if (this.#isContentKept) this.#sink.endOfFile(entry.sizeBytes)
  }

  /** The entries that complete the layer, piece by piece as the encoder's content is taken between two steps. */
  *finish(): Generator<void> {
    // Implied ones first: through a link of the layer one may be the same as one that has an entry.
    for (const isImplied of [true, false]) {
      for (const [path, attributes] of this.#directories) {
        if (attributes.isImplied !== isImplied) continue
        const xattrs = new Map(attributes.xattrs)
        if (attributes.isOpaque && path !== '') xattrs.set(OVERLAY_OPAQUE, 'y')
        this.#sink.entry('attributes', path === '' ? '.' : path, { ...attributes, xattrs })
        yield
      }
    }
    this.#sink.entry('end', '')
    yield
  }

  #count(entry: TarEntry): void {
    this.#entryCount++
    this.#contentBytes += entry.sizeBytes
    if (this.#entryCount > this.#limits.entries) throw exceeded(`more than ${this.#limits.entries} entries`)
    if (this.#contentBytes > this.#limits.bytes) throw exceeded(`files of more than ${this.#limits.bytes} bytes`)
    for (const key of entry.otherRecords) this.#warnOnce(key, `left out the archive's records ${printName(key)}`)
  }

  #directory(path: string, entry: TarEntry): void {
    if (path !== '') this.#implyDirectory(parentOf(path))
    const known = this.#directories.get(path)
    const isOpaque = known?.isOpaque === true || this.#whiteouts.has(path) || entry.xattrs.get(OVERLAY_OPAQUE) === 'y'
    // An implied directory may be a link that leads to one; its own entry makes it a directory.
    if (path !== '' && known?.isImplied !== false) this.#sink.entry('directory', path)
    const { mode, uid, gid, mtime } = entry
    this.#directories.set(path, { mode, uid, gid, mtime, xattrs: this.#xattrs(entry), isImplied: false, isOpaque })
  }

  #nonDirectory(path: string, entry: TarEntry): void {
    if (path === '') throw unfit(entry, `the root of a layer cannot be a ${entry.type}`)
    this.#implyDirectory(parentOf(path))
    const isWhiteout = entry.type === 'character' && entry.devmajor === 0 && entry.devminor === 0
    if (isWhiteout) {
      this.#whiteout(path)
      return
    }
    if (this.#directories.has(path)) this.#forgetDirectory(path)
    const { mode, uid, gid, mtime, devmajor: major, devminor: minor } = entry
    switch (entry.type) {
      case 'file':
        this.#isContentKept = true
        this.#sink.entry('file', path, { mode, uid, gid, mtime, xattrs: this.#xattrs(entry) })
        break
      case 'link':
        this.#sink.entry('link', path, { target: linkTarget(entry) })
        break
      case 'symlink':
        this.#refuseXattrs(entry)
        this.#sink.entry('symlink', path, { uid, gid, mtime, target: symlinkTarget(entry) })
        break
      case 'character':
      case 'block':
      case 'fifo':
        this.#refuseXattrs(entry)
        this.#sink.entry('node', path, { mode: NODE_TYPES[entry.type] | mode, uid, gid, mtime, major, minor })
    }
  }

  /** Makes a directory known that entries are in, and those it is in; berth-init makes them with the first entry. */
  #implyDirectory(path: string): void {
    if (this.#directories.has(path)) return
    this.#implyDirectory(parentOf(path))
    const isOpaque = this.#whiteouts.has(path)
    if (isOpaque) this.#sink.entry('directory', path)
    this.#directories.set(path, { ...IMPLIED, isOpaque })
  }

  #whiteout(path: string): void {
    this.#whiteouts.add(path)
    if (this.#directories.has(path)) this.#makeOpaque(path)
    else this.#sink.entry('whiteout', path, { mode: S_IFCHR })
  }

  #makeOpaque(path: string): void {
    this.#directories.set(path, { ...(this.#directories.get(path) ?? IMPLIED), isOpaque: true })
  }

  #forgetDirectory(path: string): void {
    this.#replacedCount++
    if (this.#replacedCount > REPLACED_DIRECTORIES_LIMIT) {
      throw exceeded(`more than ${REPLACED_DIRECTORIES_LIMIT} directories that other entries replace`)
    }
    for (const each of this.#directories.keys()) {
      if (each === path || each.startsWith(`${path}/`)) this.#directories.delete(each)
    }
  }

  /** The attributes that mean the same on every machine. @throws {BerthError} invalidArgument: too many */
  #xattrs(entry: TarEntry): ReadonlyMap<string, string> {
    if (entry.xattrs.size === 0) return entry.xattrs
    const kept = new Map<string, string>()
    let bytes = 0
    for (const [name, value] of entry.xattrs) {
      if (isPortableXattr(name)) {
        kept.set(name, value)
        bytes += name.length + value.length
      } else if (name !== OVERLAY_OPAQUE) this.#warnLeftOut(name)
    }
    if (bytes > ENTRY_TAIL_LIMIT_BYTES / 2) throw unfit(entry, `its extended attributes have ${bytes} bytes`)
    return kept
  }

  /** Linux allows none of the portable attributes on links, and nothing reads them on devices and pipes. */
  #refuseXattrs(entry: TarEntry): void {
    for (const name of entry.xattrs.keys()) this.#warnLeftOut(`${name} of a ${entry.type}`)
  }

  #warnLeftOut(what: string): void {
    this.#warnOnce(what, `left out the extended attribute ${printName(what)}`)
  }

  #warnOnce(key: string, message: string): void {
    if (this.#warned.has(key) || this.#warned.size >= WARNINGS_LIMIT) return
    this.#warned.add(key)
    this.#warn(message)
  }
}

const NODE_TYPES = { character: S_IFCHR, block: S_IFBLK, fifo: S_IFIFO } as const

function linkTarget(entry: TarEntry): string {
  const target = parseEntryPath(entry.linkname)
  if (target === '') throw unfit(entry, 'it is a hard link to the root')
  return target
}

function symlinkTarget(entry: TarEntry): string {
  const target = entry.linkname
  if (target !== '' && target.length <= 4095 && !target.includes('\0')) return target
  throw unfit(entry, `it is a symbolic link to a path of ${target.length} bytes`)
}

function unfit(entry: TarEntry, why: string): BerthError {
  return new BerthError('invalidArgument', `Cannot unpack entry ${printName(entry.name)}: ${why}`)
}

function exceeded(what: string): BerthError {
  return new BerthError('unavailable', `Cannot unpack the layer: it has ${what}, the configured limit`)
}

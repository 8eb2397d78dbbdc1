import { BerthError } from '../lib/error.ts'
import type { TarEntry } from '../lib/tar/entry.ts'
import type { TarHandler } from '../lib/tar/parser.ts'

/** What was read of an archive since the last time. */
export type ArchiveEvent =
  | { readonly kind: 'file'; readonly name: string; readonly sizeBytes: number }
  | { readonly kind: 'link'; readonly name: string; readonly target: string }
  | { readonly kind: 'data'; readonly bytes: Uint8Array }
  | { readonly kind: 'end' }

/** An image has at most some hundred layers with three files each, and an archive some hundred images. */
const ENTRIES_LIMIT = 100_000
/** `blobs/sha256/<hex>` is the deepest that any writer goes. */
const DEPTH_LIMIT = 3

/**
 * The files of an image archive, checked one by one as a tar parser tells them. Nothing is unpacked: names are only compared, so none
 * can lead anywhere. Still everything that a well-meant archive does not hold is refused (CVE-2023-0778, CVE-2025-11395):
 * hard links, pipes, devices, sparse files, names and links that leave the archive, two files of one name.
 */
export class ArchiveEntries implements TarHandler {
  #events: ArchiveEvent[] = []
  readonly #names = new Set<string>()
  #count = 0
  #nextOffset = 0
  #isFile = false
  #file: TarEntry | null = null

  /** What was read since the last time. */
  take(): readonly ArchiveEvent[] {
    const events = this.#events
    this.#events = []
    return events
  }

  entry(entry: TarEntry): void {
    if (++this.#count > ENTRIES_LIMIT) throw refused(entry.name, `it is one of more than ${ENTRIES_LIMIT} entries`)
    const name = entryName(entry.name)
    this.#isFile = entry.type === 'file'
    if (entry.type === 'directory') return
    if (name === '') throw refused(entry.name, 'it has no name')
    if (this.#names.has(name)) throw refused(entry.name, 'it is there twice')
    this.#names.add(name)
    if (entry.type === 'symlink') {
      this.#events.push({ kind: 'link', name, target: linkTarget(name, entry) })
      return
    }
    if (entry.type !== 'file') throw refused(entry.name, `it is a ${KINDS[entry.type]}, expected a file`)
    this.#file = entry
    this.#nextOffset = 0
    this.#events.push({ kind: 'file', name, sizeBytes: entry.sizeBytes })
  }

  data(offset: number, bytes: Uint8Array): void {
    if (offset !== this.#nextOffset) throw this.#sparse()
    this.#nextOffset += bytes.length
    this.#events.push({ kind: 'data', bytes })
  }

  end(): void {
    if (this.#isFile && this.#nextOffset !== this.#file?.sizeBytes) throw this.#sparse()
    if (this.#isFile) this.#events.push({ kind: 'end' })
  }

  #sparse(): BerthError {
    return refused(this.#file?.name ?? '', 'it is sparse, expected a whole file')
  }
}

const KINDS = { link: 'hard link', character: 'character device', block: 'block device', fifo: 'pipe' } as const

/** The name within the archive: `./a//b` is `a/b`. */
function entryName(name: string): string {
  const parts = name.split('/').filter(part => part !== '' && part !== '.')
  if (name.startsWith('/')) throw refused(name, 'its name is absolute')
  if (parts.includes('..')) throw refused(name, 'its name holds ".."')
  if (parts.length > DEPTH_LIMIT) throw refused(name, `it is deeper than ${DEPTH_LIMIT} directories`)
  return parts.join('/')
}

/** Older archives have a layer once, and links to it: `../<id>/layer.tar`. */
function linkTarget(name: string, { linkname }: TarEntry): string {
  const parts = name.split('/').slice(0, -1)
  if (linkname.startsWith('/')) throw refused(name, 'it links to an absolute name')
  for (const part of linkname.split('/')) {
    if (part === '' || part === '.') continue
    if (part !== '..') parts.push(part)
    else if (parts.pop() === undefined) throw refused(name, 'it links out of the archive')
  }
  return parts.join('/')
}

function refused(name: string, why: string): BerthError {
  return new BerthError('invalidArgument', `Cannot load entry ${JSON.stringify(name.slice(0, 200))}: ${why}`)
}

import { BerthError, messageOf } from '../../lib/error.ts'
import type { TarEntry } from '../../lib/tar/entry.ts'
import { type TarHandler, TarParser } from '../../lib/tar/parser.ts'
import { decompress } from '../../snapshot/decompress.ts'
import { EntryEncoder } from '../../snapshot/entry-encoder.ts'
import { LayerComposer } from '../../snapshot/layer-composer.ts'
import type { UnpackLimits } from '../../snapshot/unpack-limits.ts'
import { UnpackProcess } from '../../snapshot/unpack-process.ts'
import { readAr } from './ar-archive.ts'

/** A package's file, and its name for errors. */
export interface PackageFile {
  readonly name: string
  readonly content: () => AsyncIterable<Uint8Array>
}

/** What became one with its namesake in /usr; packages of older suites still have files in there. Source: Debian Policy › merged /usr. */
const MERGED = /^(?:\.\/|\/)?(bin|sbin|lib|lib32|lib64|libx32|libo32)(?:\/|$)/
/** These are there in any case. */
const ALWAYS_MERGED = ['bin', 'sbin', 'lib'] as const
const SEND_BYTES = 256 * 1024

/**
 * Unpacks the files of packages into an empty directory, one package over the other, as dpkg would without its scripts and its database:
 * what it takes to run dpkg itself there. /bin, /lib and the like are links into /usr.
 * @throws {BerthError} invalidArgument: a package is damaged; whatever reading it throws
 */
export async function unpackPackages(
  target: string,
  packages: readonly PackageFile[],
  limits: UnpackLimits,
  signal?: AbortSignal,
): Promise<void> {
  const encoder = new EntryEncoder()
  const composer = new LayerComposer(encoder, limits, () => undefined)
  const merger = new UsrMerger(composer)
  await using unpacking = new UnpackProcess(target)
  const send = async (): Promise<void> => {
    if (encoder.length >= SEND_BYTES) await unpacking.send(encoder.take())
  }
  for (const each of packages) {
    try {
      const parser = new TarParser(merger)
      for await (const piece of dataOf(each, limits)) {
        signal?.throwIfAborted()
        parser.push(piece)
        await send()
      }
      parser.finish()
    } catch (error) {
      if (!(error instanceof BerthError)) throw error
      throw new BerthError(error.category, `Cannot unpack package ${each.name}: ${messageOf(error)}`, { cause: error })
    }
  }
  for (const _ of composer.finish()) await send()
  await unpacking.send(encoder.take())
  await unpacking.finish()
}

/** The archive of a package's files, uncompressed. Source: deb(5). */
async function* dataOf({ name, content }: PackageFile, limits: UnpackLimits): AsyncGenerator<Uint8Array> {
  for await (const member of readAr(content())) {
    if (!member.name.startsWith('data.tar')) continue
    yield* decompress(member.content(), limits)
    return
  }
  throw new BerthError('invalidArgument', `${name} has no data.tar`)
}

/** Passes entries on under the names they have where /bin, /sbin and /lib* are links into /usr. */
class UsrMerger implements TarHandler {
  readonly #composer: LayerComposer
  readonly #linked = new Set<string>()

  constructor(composer: LayerComposer) {
    this.#composer = composer
    for (const name of ALWAYS_MERGED) this.#link(name)
  }

  entry(entry: TarEntry): void {
    const name = this.#merged(entry.name)
    // base-files of newer suites has the links themselves.
    if (entry.type === 'symlink' && name !== entry.name && MERGED.exec(entry.name)?.[0] === entry.name) return
    this.#composer.entry({
      ...entry,
      name,
      linkname: entry.type === 'link' ? this.#merged(entry.linkname) : entry.linkname,
    })
  }

  data(offset: number, bytes: Uint8Array): void {
    this.#composer.data(offset, bytes)
  }

  end(entry: TarEntry): void {
    this.#composer.end(entry)
  }

  #merged(name: string): string {
    const [, directory] = MERGED.exec(name) ?? []
    if (directory === undefined) return name
    this.#link(directory)
    return `usr/${name.replace(/^(?:\.\/|\/)/, '')}`
  }

  #link(name: string): void {
    if (this.#linked.has(name)) return
    this.#linked.add(name)
    this.#composer.entry({
      ...{ type: 'symlink', name, linkname: `usr/${name}`, mode: 0o777, uid: 0, gid: 0, sizeBytes: 0 },
      ...{ mtime: { seconds: 0, nanoseconds: 0 }, devmajor: 0, devminor: 0, xattrs: new Map(), otherRecords: [] },
    })
  }
}

/**
 * The signed table of contents of an archive's suite (InRelease).
 * Source: Debian Repository Format › "Release" files.
 */
import { BerthError } from '../../lib/error.ts'
import { type Digest, parseDigest } from '../../oci/digest.ts'
import { parseStanza, requiredField } from './control-file.ts'

/** A file of the suite. */
export interface ReleaseFile {
  readonly digest: Digest
  readonly sizeBytes: number
}

/** What a suite has. */
export interface Release {
  readonly origin: string
  readonly suite: string
  readonly codename: string
  readonly dateMs: number
  /** Null: for ever. */
  readonly validUntilMs: number | null
  readonly components: readonly string[]
  readonly architectures: readonly string[]
  /** Files can be fetched by their digest, so that an update in the middle does no harm. */
  readonly hasByHash: boolean
  /** By path below the suite's directory. */
  readonly files: ReadonlyMap<string, ReleaseFile>
}

const ENTRY = /^([0-9a-f]{64})\s+(\d+)\s+(\S+)$/

/** Parses the text that the signatures are over; `name` is its name in errors. @throws {BerthError} invalidArgument */
export function parseRelease(text: string, name: string): Release {
  const fields = parseStanza(text, name)
  const validUntil = fields.get('valid-until')
  const files = new Map<string, ReleaseFile>()
  for (const line of requiredField(fields, 'SHA256', name).split('\n').filter(Boolean)) {
    const [, hex, size, path] = ENTRY.exec(line) ?? []
    if (hex === undefined || path === undefined)
      throw new BerthError(
        'invalidArgument',
        `Cannot read ${name}: ${JSON.stringify(line.slice(0, 80))} is no file of it`,
      )
    files.set(path, { digest: parseDigest(`sha256:${hex}`), sizeBytes: Number(size) })
  }
  return {
    origin: fields.get('origin') ?? '',
    suite: fields.get('suite') ?? '',
    codename: requiredField(fields, 'Codename', name),
    dateMs: time(requiredField(fields, 'Date', name), name),
    validUntilMs: validUntil === undefined ? null : time(validUntil, name),
    components: words(fields.get('components')),
    architectures: words(fields.get('architectures')),
    hasByHash: fields.get('acquire-by-hash') === 'yes',
    files,
  }
}

function words(value: string | undefined): readonly string[] {
  return (value ?? '').split(/\s+/).filter(Boolean)
}

/** `Sat, 11 Oct 2025 09:14:07 UTC` */
function time(value: string, name: string): number {
  const ms = Date.parse(value)
  if (Number.isNaN(ms))
    throw new BerthError('invalidArgument', `Cannot read ${name}: ${JSON.stringify(value)} is no date`)
  return ms
}

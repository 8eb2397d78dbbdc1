/**
 * The names of blobs that are not complete yet. A name says what the file is to become and whose it is, so that taking one over is
 * a rename, which of several only one does:
 *
 *     <algorithm>-<hex>.<boot>.<pid>.<start ticks>.<unique>     somebody is writing it
 *     <algorithm>-<hex>.<boot>.0.0.<unique>                     nobody's: to be gone on with
 *     unnamed.<boot>.<pid>.<start ticks>.<unique>               its digest is known at its end only
 */
import { randomBytes } from 'node:crypto'
import type { ProcessIdentity } from '../host/process-identity.ts'
import { type Digest, digestAlgorithm, digestHex, parseDigest } from '../oci/digest.ts'

/** What a name says. */
export interface PartialName {
  /** Null: not known yet. */
  readonly digest: Digest | null
  /** The boot it was written in. After another one nobody knows which of its bytes reached the disk. */
  readonly boot: string
  /** Null: nobody's. */
  readonly owner: ProcessIdentity | null
}

const NAME = /^(?:unnamed|(sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128}))\.([0-9a-f]{8})\.(\d+)\.(\d+)\.[0-9a-f]{16}$/

/** Reads a name; null when it is none. */
export function parsePartialName(name: string): PartialName | null {
  const [, digest, boot, pid, startTicks] = NAME.exec(name) ?? []
  if (boot === undefined) return null
  return {
    digest: digest === undefined ? null : parseDigest(digest.replace('-', ':')),
    boot,
    owner: Number(pid) === 0 ? null : { pid: Number(pid), startTicks: Number(startTicks) },
  }
}

/** A new name, which no other file has. */
export function newPartialName({ digest, boot, owner }: PartialName): string {
  const stem = digest === null ? 'unnamed' : `${digestAlgorithm(digest)}-${digestHex(digest)}`
  return [stem, boot, owner?.pid ?? 0, owner?.startTicks ?? 0, randomBytes(8).toString('hex')].join('.')
}

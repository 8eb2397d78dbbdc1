import type { Database } from 'bun:sqlite'
import type { Digest } from '../oci/digest.ts'
import type { ImageOrigin } from '../security/trust/image-origin.ts'
import type { ImageSignature } from '../security/trust/image-signature.ts'

/** One platform of an image. */
export interface TrustedManifest {
  /** The target's digest. */
  readonly image: Digest
  readonly manifest: Digest
}

/** What is put down of an image that was let in. */
export interface NewTrust extends TrustedManifest {
  readonly origin: ImageOrigin
  readonly signatures: readonly ImageSignature[]
  /** Which demands it has met; null: they need not be remembered. */
  readonly basis: string | null
}

/** A pull takes less; what is older and has no image is left of one that failed. */
const ORPHAN_AGE_MS = 24 * 60 * 60 * 1000
/**
 * How long a decision stands without another look at the signatures: keys expire, and nobody tells. Once a day is little work, and a day late is
 * not late for what has been running before.
 */
const DECISION_AGE_MS = 24 * 60 * 60 * 1000

/** What is known of trust in images: where they came from, their signatures, and what was decided. */
export class TrustRecords {
  readonly #database: Database

  /** `database` has the tables of TRUST_SCHEMA. */
  constructor(database: Database) {
    this.#database = database
  }

  /** Puts down an image that is let in; earlier origins stay, earlier signatures of the same manifest are replaced. */
  keep({ image, manifest, origin, signatures, basis }: NewTrust, nowMs: number): void {
    const write = this.#database.transaction(() => {
      this.#forgetOrphans(nowMs)
      this.#run('INSERT OR REPLACE INTO image_origin VALUES (?, ?, ?)', [image, JSON.stringify(origin), nowMs])
      if (signatures.length > 0)
        this.#run('DELETE FROM image_signature WHERE image = ? AND manifest = ?', [image, manifest])
      for (const [number, { kind, subject, bytes }] of signatures.entries())
        this.#run('INSERT INTO image_signature VALUES (?, ?, ?, ?, ?, ?)', [
          image,
          manifest,
          kind,
          subject,
          number,
          bytes,
        ])
      if (basis !== null) this.#accept({ image, manifest }, origin, basis, nowMs)
    })
    write.immediate()
  }

  /** Where an image came from, the latest first; none: it was made here. */
  originsOf(image: Digest): readonly ImageOrigin[] {
    return this.#rows('SELECT origin FROM image_origin WHERE image = ? ORDER BY seen_ms DESC', [image]).map(
      ([origin]) => JSON.parse(String(origin)) as ImageOrigin,
    )
  }

  /** The signatures that were fetched with a platform of an image, and those of the whole image. */
  signaturesOf({ image, manifest }: TrustedManifest): readonly ImageSignature[] {
    const rows = this.#rows(
      `SELECT DISTINCT kind, subject, bytes FROM image_signature WHERE image = ?1 AND (manifest = ?2 OR subject IN (?1, ?2))
       ORDER BY number`,
      [image, manifest],
    )
    return rows.map(
      ([kind, subject, bytes]) => ({ kind, subject, bytes: new Uint8Array(bytes as Uint8Array) }) as ImageSignature,
    )
  }

  /** Whether an image has met these demands not long ago. */
  isAccepted({ image, manifest }: TrustedManifest, origin: ImageOrigin, basis: string, nowMs: number): boolean {
    const rows = this.#rows(
      'SELECT 1 FROM image_trust WHERE image = ? AND manifest = ? AND origin = ? AND basis = ? AND decided_ms BETWEEN ? AND ?',
      [image, manifest, JSON.stringify(origin), basis, nowMs - DECISION_AGE_MS, nowMs],
    )
    return rows.length > 0
  }

  /** Remembers that it has. */
  accept(which: TrustedManifest, origin: ImageOrigin, basis: string, nowMs: number): void {
    this.#accept(which, origin, basis, nowMs)
  }

  #accept({ image, manifest }: TrustedManifest, origin: ImageOrigin, basis: string, nowMs: number): void {
    this.#run('INSERT OR REPLACE INTO image_trust VALUES (?, ?, ?, ?, ?)', [
      ...[image, manifest, JSON.stringify(origin), basis, nowMs],
    ])
  }

  #forgetOrphans(nowMs: number): void {
    const orphans = 'NOT IN (SELECT digest FROM image) AND image NOT IN (SELECT image FROM image_origin)'
    this.#run('DELETE FROM image_origin WHERE seen_ms < ? AND image NOT IN (SELECT digest FROM image)', [
      nowMs - ORPHAN_AGE_MS,
    ])
    for (const table of ['image_signature', 'image_trust']) this.#run(`DELETE FROM ${table} WHERE image ${orphans}`, [])
  }

  #rows(sql: string, values: readonly (string | number)[]): readonly (readonly unknown[])[] {
    return this.#database.query(sql).values(...values)
  }

  #run(sql: string, values: readonly (string | number | Uint8Array)[]): void {
    this.#database.query(sql).run(...values)
  }
}

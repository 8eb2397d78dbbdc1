import type { Database } from 'bun:sqlite'
import { ownIdentity, sameProcess } from '../host/process-identity.ts'
import { isDiskFull } from '../lib/disk-full.ts'
import { invariant } from '../lib/error.ts'
import type { Digest } from '../oci/digest.ts'
import { writeDatabase } from './write-database.ts'

/** A blob of the content store, or an unpacked layer (by its diffID). */
export type ContentKind = 'blob' | 'layer'

/**
 * Keeps content from the garbage collector while no image needs it yet. It counts as long as its process lives, so that nobody has
 * to clean up after one that was killed. The order matters: first {@link hold}, then look whether the content is there.
 */
export class Lease implements Disposable {
  readonly #database: Database
  readonly #id: number
  #isReleased = false

  /** `purpose` is for people. */
  constructor(database: Database, purpose: string) {
    this.#database = database
    const { pid, startTicks } = ownIdentity()
    const make = database.transaction((): number => {
      forgetDeadLeases(database)
      const [row] = database
        .query('INSERT INTO lease (pid, start_ticks, purpose, created_ms) VALUES (?, ?, ?, ?) RETURNING id')
        .values(pid, startTicks, purpose, Date.now())
      return Number(row?.[0])
    })
    this.#id = writeDatabase(() => make.immediate())
  }

  /** Holds more; it need not be there (yet). */
  hold(kind: ContentKind, digests: Iterable<Digest>): void {
    invariant(!this.#isReleased, 'what was released holds nothing more')
    const all = [...digests]
    if (all.length === 0) return
    const insert = this.#database.query('INSERT OR IGNORE INTO lease_item SELECT ?, ?, value FROM json_each(?)')
    writeDatabase(() => insert.run(this.#id, kind, JSON.stringify(all)))
  }

  /** Lets go of everything, also when there is no room to write that down. Idempotent. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    try {
      this.#database.transaction(() => forget(this.#database, this.#id)).immediate()
    } catch (error) {
      if (!isDiskFull(error)) throw error
      // To others it counts until this process ends, or makes another one.
      released.set(this.#database, [...(released.get(this.#database) ?? []), this.#id])
    }
  }

  [Symbol.dispose](): void {
    this.release()
  }
}

/** Leases of this process that were let go of on a full disk. */
const released = new WeakMap<Database, readonly number[]>()

/** Ids of the leases whose processes are gone, and of those that were released. */
export function deadLeases(database: Database): readonly number[] {
  const own = released.get(database) ?? []
  return database
    .query('SELECT id, pid, start_ticks FROM lease')
    .values()
    .filter(([id, pid, startTicks]) => {
      return own.includes(Number(id)) || !sameProcess({ pid: Number(pid), startTicks: Number(startTicks) })
    })
    .map(([id]) => Number(id))
}

/** Removes the leases whose processes are gone. */
export function forgetDeadLeases(database: Database): void {
  for (const id of deadLeases(database)) forget(database, id)
  // The numbers are given out again: from here on they may be others'.
  released.delete(database)
}

function forget(database: Database, id: number): void {
  database.query('DELETE FROM lease_item WHERE lease = ?').run(id)
  database.query('DELETE FROM lease WHERE id = ?').run(id)
}

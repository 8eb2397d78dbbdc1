import type { Database } from 'bun:sqlite'
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { ownIdentity, sameProcess } from '../host/process-identity.ts'
import type { Digest } from '../oci/digest.ts'
import { writeDatabase, writeIfRoom } from './write-database.ts'

/** How often one who waits looks again. The end of a transfer is seen that late, which is little beside a transfer. */
const POLL_MS = 50
const BEAT_MS = 5000
/** Without a sign of life for so long, whoever brings a blob in is stopped or stuck: another one does it as well. */
const SILENCE_LIMIT_MS = 20_000

/**
 * Who is bringing in which blob. Of several pulls at once, in one process or in several, one transfers a blob and the others wait for it.
 * It is a courtesy, not a lock: when two transfer the same all the same, both come to the same end.
 */
export class Transfers {
  readonly #database: Database
  readonly #silenceLimitMs: number

  /** `database` has the tables of IMAGE_SCHEMA. */
  constructor(database: Database, silenceLimitMs: number = SILENCE_LIMIT_MS) {
    this.#database = database
    this.#silenceLimitMs = silenceLimitMs
  }

  /** Waits until nobody else is bringing the blob in, and takes its place until disposed. Look then whether the blob is there. */
  async begin(digest: Digest, signal?: AbortSignal): Promise<Disposable> {
    const owner = randomUUID()
    while (!this.#take(digest, owner)) await delay(POLL_MS, undefined, signal === undefined ? {} : { signal })
    const beat = setInterval(() => {
      writeIfRoom(() =>
        this.#run('UPDATE transfer SET beat_ms = ? WHERE digest = ? AND owner = ?', [Date.now(), digest, owner]),
      )
    }, BEAT_MS)
    // A process that has nothing else to do need not stay for it.
    beat.unref()
    return {
      [Symbol.dispose]: () => {
        clearInterval(beat)
        writeIfRoom(() => this.#run('DELETE FROM transfer WHERE digest = ? AND owner = ?', [digest, owner]))
      },
    }
  }

  #take(digest: Digest, owner: string): boolean {
    // Most of the time there is nothing to wait for, or nothing new: that is found out without the write lock.
    if (this.#isBusy(digest)) return false
    const take = this.#database.transaction((): boolean => {
      if (this.#isBusy(digest)) return false
      const { pid, startTicks } = ownIdentity()
      this.#run('INSERT OR REPLACE INTO transfer VALUES (?, ?, ?, ?, ?)', [digest, owner, pid, startTicks, Date.now()])
      return true
    })
    return writeDatabase(() => take.immediate())
  }

  #isBusy(digest: Digest): boolean {
    const [row] = this.#database.query('SELECT pid, start_ticks, beat_ms FROM transfer WHERE digest = ?').values(digest)
    if (row === undefined) return false
    const [pid, startTicks, beatMs] = row.map(Number)
    // A beat in the future is one of before the clock was set back.
    const silenceMs = Math.abs(Date.now() - (beatMs ?? 0))
    return silenceMs < this.#silenceLimitMs && sameProcess({ pid: pid ?? 0, startTicks: startTicks ?? 0 })
  }

  #run(sql: string, values: readonly (string | number)[]): void {
    this.#database.query(sql).run(...values)
  }
}

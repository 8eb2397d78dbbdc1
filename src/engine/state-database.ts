import { Database, SQLiteError } from 'bun:sqlite'
import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { ProcessIdentity } from '../host/process-identity.ts'
import { writeDatabase } from '../image/write-database.ts'
import { BerthError } from '../lib/error.ts'
import { allocateRange, type IdRange } from '../security/id-ranges.ts'
import { migrate } from './state-migrations.ts'

/** One container as the engine knows it. */
export interface ContainerRow {
  readonly id: string
  readonly name: string
  readonly image: string
  /** Target and manifest of an image of the store; null: it was made of something else. */
  readonly imageDigest: string | null
  readonly manifestDigest: string | null
  /** What it runs, as written. */
  readonly command: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  /** RFC 3339. */
  readonly created: string
  /** First host id of its range; null without a user namespace. */
  readonly rangeStart: number | null
  readonly autoRemove: boolean
  /** Null while it runs. */
  readonly exitCode: number | null
  /** Who waits for its end and puts it away. */
  readonly client: ProcessIdentity
}

/** How long another process may hold the database. */
const BUSY_TIMEOUT_MS = 5000
const BUSY_POLL_MS = 2

/**
 * The engine's memory: which containers there are, their names and their id ranges. One file, SQLite in WAL mode.
 * It is never closed: the last close would copy the log back and wait for the disk, some 10 ms, and the next to open does as well without.
 */
export class StateDatabase {
  readonly #database: Database

  /** Opens `state.db` in the data root, and makes it the first time. */
  constructor(dataRoot: string) {
    mkdirSync(dataRoot, { recursive: true, mode: 0o700 })
    // Set-user-id programs of containers, their files and this database are nobody else's (CVE-2021-41091). It may have been there before.
    chmodSync(dataRoot, 0o700)
    this.#database = new Database(join(dataRoot, 'state.db'), { create: true, strict: true })
    this.#database.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`)
    setWalMode(this.#database)
    // A lost last transaction after a power cut names a container whose processes are gone too.
    this.#database.run('PRAGMA synchronous = NORMAL')
    migrate(this.#database)
  }

  /** The database itself, for the tables that others keep in it. */
  get sqlite(): Database {
    return this.#database
  }

  /**
   * Adds a container, with a range of host ids that no other container has when it wants one. `keep` is called in the same transaction.
   * @throws {BerthError} conflict: the name is taken; unavailable: no range is left
   */
  add(row: Omit<ContainerRow, 'rangeStart' | 'exitCode'>, wantsRange: boolean, keep?: () => void): IdRange | null {
    const insert = this.#database.transaction((): IdRange | null => {
      const taken = this.#database.query('SELECT id FROM container WHERE name = ?').get(row.name)
      if (taken !== null)
        throw new BerthError(
          'conflict',
          `Cannot create container: the name "${row.name}" is in use by container ${(taken as { id: string }).id}`,
        )
      const used = this.#database.query('SELECT range_start FROM container WHERE range_start IS NOT NULL').values()
      const range = wantsRange ? allocateRange(new Set(used.map(([start]) => Number(start)))) : null
      this.#database
        .query(
          'INSERT INTO container (id, name, image, image_digest, manifest_digest, command, labels, created, range_start, auto_remove, client_pid, client_ticks) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
        )
        .run(
          row.id,
          row.name,
          row.image,
          row.imageDigest,
          row.manifestDigest,
          JSON.stringify(row.command),
          JSON.stringify(row.labels),
          row.created,
          range?.start ?? null,
          row.autoRemove ? 1 : 0,
          row.client.pid,
          row.client.startTicks,
        )
      keep?.()
      return range
    })
    return writeDatabase(() => insert.immediate())
  }

  /** Remembers how a container ended. */
  ended(id: string, exitCode: number): void {
    this.#database.query('UPDATE container SET exit_code = ? WHERE id = ?').run(exitCode, id)
  }

  /** Forgets a container and frees its name and range. Nothing of it may be left on disk by then. */
  remove(id: string): void {
    this.#database.query('DELETE FROM container WHERE id = ?').run(id)
  }

  /** All containers, oldest first. */
  list(): readonly ContainerRow[] {
    return this.#database
      .query(
        'SELECT id, name, image, image_digest, manifest_digest, command, labels, created, range_start, auto_remove, exit_code, client_pid, client_ticks FROM container ORDER BY created',
      )
      .values()
      .map(
        ([
          id,
          name,
          image,
          imageDigest,
          manifestDigest,
          command,
          labels,
          created,
          rangeStart,
          autoRemove,
          exitCode,
          pid,
          ticks,
        ]) => ({
          id: String(id),
          name: String(name),
          image: String(image),
          imageDigest: imageDigest === null ? null : String(imageDigest),
          manifestDigest: manifestDigest === null ? null : String(manifestDigest),
          command: JSON.parse(String(command)) as readonly string[],
          labels: JSON.parse(String(labels)) as Readonly<Record<string, string>>,
          created: String(created),
          rangeStart: rangeStart === null ? null : Number(rangeStart),
          autoRemove: autoRemove === 1,
          exitCode: exitCode === null ? null : Number(exitCode),
          client: { pid: Number(pid), startTicks: Number(ticks) },
        }),
      )
  }
}

/**
 * Of several that make the database at once, SQLite tells those that come second that it is locked, without waiting: the switch to WAL
 * upgrades a read lock, where waiting could be a deadlock (sqlite3_busy_handler). It is done once in a database's life.
 */
function setWalMode(database: Database): void {
  const deadline = performance.now() + BUSY_TIMEOUT_MS
  for (;;) {
    try {
      database.run('PRAGMA journal_mode = WAL')
      return
    } catch (error) {
      const isBusy = error instanceof SQLiteError && error.code === 'SQLITE_BUSY'
      if (!isBusy || performance.now() > deadline) throw error
      Bun.sleepSync(BUSY_POLL_MS)
    }
  }
}

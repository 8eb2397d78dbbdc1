import type { Database } from 'bun:sqlite'
import { HOST_IMAGE_SCHEMA, IMAGE_SCHEMA } from '../image/image-schema.ts'
import { TRUST_SCHEMA } from '../image/trust-schema.ts'
import { BerthError } from '../lib/error.ts'

/** The first schema was made before there were versions: where its table is there, this changes nothing. */
const CONTAINERS = `
CREATE TABLE IF NOT EXISTS container (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  image TEXT NOT NULL,
  command TEXT NOT NULL,
  labels TEXT NOT NULL,
  created TEXT NOT NULL,
  range_start INTEGER UNIQUE,
  auto_remove INTEGER NOT NULL,
  exit_code INTEGER,
  client_pid INTEGER NOT NULL,
  client_ticks INTEGER NOT NULL
) STRICT`

/** Which image and manifest a container was made of; and what it keeps on disk goes with it, whoever removes it. */
const CONTAINER_IMAGES = `
ALTER TABLE container ADD COLUMN image_digest TEXT;
ALTER TABLE container ADD COLUMN manifest_digest TEXT;
CREATE TRIGGER container_content_goes AFTER DELETE ON container BEGIN
  DELETE FROM container_content WHERE container = OLD.id;
END`

/** Step n leads from version n to n + 1. Steps are added, never edited: databases that have taken them are out there. */
const STEPS: readonly string[] = [CONTAINERS, `${IMAGE_SCHEMA};${CONTAINER_IMAGES}`, TRUST_SCHEMA, HOST_IMAGE_SCHEMA]

/**
 * Brings the tables of `state.db` up to date; `PRAGMA user_version` counts the steps that it has taken. All in one transaction.
 * @throws {BerthError} unavailable: a later Berth has made the database
 */
export function migrate(database: Database): void {
  if (versionOf(database) === STEPS.length) return
  const take = database.transaction(() => {
    // Another process may have been first.
    const version = versionOf(database)
    if (version > STEPS.length)
      throw new BerthError(
        'unavailable',
        `Cannot use "${database.filename}": it has version ${version}, made by a later Berth, expected at most ${STEPS.length}`,
      )
    for (const step of STEPS.slice(version)) database.run(step)
    database.run(`PRAGMA user_version = ${STEPS.length}`)
  })
  take.immediate()
}

function versionOf(database: Database): number {
  const [row] = database.query('PRAGMA user_version').values()
  return Number(row?.[0])
}

import { Database } from 'bun:sqlite'
import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StateDatabase } from './state-database.ts'
import { migrate } from './state-migrations.ts'

const UNVERSIONED = `
CREATE TABLE container (
  id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, image TEXT NOT NULL, command TEXT NOT NULL, labels TEXT NOT NULL,
  created TEXT NOT NULL, range_start INTEGER UNIQUE, auto_remove INTEGER NOT NULL, exit_code INTEGER,
  client_pid INTEGER NOT NULL, client_ticks INTEGER NOT NULL
) STRICT;
INSERT INTO container VALUES ('1', 'web', 'host', '["sh"]', '{}', '2024-01-02T03:04:05Z', 1400000, 0, 7, 5, 77)`

test('migrate() keeps the containers of a database from before there were versions', () => {
  const path = mkdtempSync(join(tmpdir(), 'berth-state-'))
  try {
    const old = new Database(join(path, 'state.db'), { create: true, strict: true })
    old.run(UNVERSIONED)
    old.close()
    const [row] = new StateDatabase(path).list()
    expect(row).toMatchObject({ id: '1', name: 'web', command: ['sh'], rangeStart: 1_400_000, exitCode: 7 })
  } finally {
    rmSync(path, { recursive: true })
  }
})

test('migrate() changes nothing the second time', () => {
  const database = new Database(':memory:', { strict: true })
  migrate(database)
  const schema = (): unknown => database.query('SELECT sql FROM sqlite_master ORDER BY name').values()
  const before = schema()
  migrate(database)
  expect(schema()).toEqual(before)
})

test('migrate() refuses a database that a later Berth has made, and leaves it as it is', () => {
  const database = new Database(':memory:', { strict: true })
  database.run('PRAGMA user_version = 1000')
  expect(() => migrate(database)).toThrow('it has version 1000, made by a later Berth')
  expect(database.query('SELECT count(*) FROM sqlite_master').values()).toEqual([[0]])
})

test('migrate() takes all steps or none', () => {
  const database = new Database(':memory:', { strict: true })
  database.run('CREATE TABLE lease_item (x)')
  expect(() => migrate(database)).toThrow('lease_item')
  expect(database.query('PRAGMA user_version').values()).toEqual([[0]])
  expect(database.query("SELECT name FROM sqlite_master WHERE type = 'table'").values()).toEqual([['lease_item']])
})

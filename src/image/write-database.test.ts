import { Database } from 'bun:sqlite'
import { expect, test } from 'bun:test'
import { writeDatabase, writeIfRoom } from './write-database.ts'

function fullDatabase(): Database {
  const database = new Database(':memory:')
  database.run('CREATE TABLE t (x)')
  database.run('PRAGMA max_page_count = 2')
  return database
}

const fill = (database: Database): void => void database.query('INSERT INTO t VALUES (zeroblob(100000))').run()

test('writeDatabase() says of a full disk that it is full', () => {
  expect(() => writeDatabase(() => fill(fullDatabase()))).toThrow('Cannot write state.db: no space is left on its disk')
})

test('writeIfRoom() leaves undone what there is no room for, and nothing else', () => {
  expect(writeIfRoom(() => fill(fullDatabase()))).toBeUndefined()
  expect(() => writeIfRoom(() => void fullDatabase().query('SELECT nothing'))).toThrow('nothing')
})

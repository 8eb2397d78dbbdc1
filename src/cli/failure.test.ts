import { SQLiteError } from 'bun:sqlite'
import { expect, spyOn, test } from 'bun:test'
import { ENGINE_FAILURE, fail } from './failure.ts'

/** What is printed for an error. */
function printed(error: unknown): unknown {
  using spy = spyOn(console, 'error').mockImplementation(() => undefined)
  expect(fail(error)).toBe(ENGINE_FAILURE)
  return spy.mock.calls[0]?.[0]
}

test('fail() tells of a full disk in one line, whoever has met it', () => {
  const full = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC', path: '/data/x' })
  expect(printed(full)).toBe('berth: Cannot go on: no space is left on the device ("/data/x")')
  const database: SQLiteError = Object.assign(Object.create(SQLiteError.prototype), { code: 'SQLITE_FULL' })
  expect(printed(database)).toBe(
    'berth: Cannot go on: no space is left on the device of the data root, expected room for state.db',
  )
})

test('fail() shows a bug as it is', () => {
  const bug = new TypeError('undefined is not a function')
  expect(printed(bug)).toBe(bug)
})

import { expect, test } from 'bun:test'
import { constants } from 'node:os'
import * as numbers from './errno.ts'
import { errnoDescription, errnoName, errnoNumber } from './errno-name.ts'

test('errnoNumber() agrees with what this system calls its error numbers', () => {
  for (const [name, number] of Object.entries(constants.errno))
    expect([name, errnoNumber(name)]).toEqual([name, number])
})

test('errno.ts has the numbers 1 to 133 under their names, but for the two that Linux leaves out', () => {
  const found: [string, number][] = Object.entries<number>(numbers).sort(([, a], [, b]) => a - b)
  const all = Array.from({ length: 133 }, (_, index) => index + 1).filter(number => number !== 41 && number !== 58)
  expect(found).toEqual(all.map(number => [errnoName(number), number]))
})

test('errnoName() and errnoDescription() say a number when there is no name', () => {
  expect(errnoName(2)).toBe('ENOENT')
  expect(errnoDescription(2)).toBe('No such file or directory')
  expect(errnoName(4711)).toBe('errno 4711')
  expect(errnoDescription(4711)).toBe('Unknown error 4711')
  expect(errnoNumber('ENOTSUP')).toBe(95)
  expect(errnoNumber('constructor')).toBeUndefined()
})

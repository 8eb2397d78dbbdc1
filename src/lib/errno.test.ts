import { expect, test } from 'bun:test'
import { constants } from 'node:os'
import { ERRNO, errnoDescription, errnoName, errnoNumber } from './errno.ts'

test('ERRNO agrees with what this system calls its error numbers', () => {
  for (const [name, number] of Object.entries(constants.errno))
    expect([name, errnoNumber(name)]).toEqual([name, number])
})

test('ERRNO covers 1 to 133 but for the two numbers Linux leaves out', () => {
  const numbers = new Set(Object.values(ERRNO))
  for (let number = 1; number <= 133; number += 1) expect(numbers.has(number)).toBe(number !== 41 && number !== 58)
})

test('errnoName() and errnoDescription() say a number when there is no name', () => {
  expect(errnoName(2)).toBe('ENOENT')
  expect(errnoDescription(2)).toBe('No such file or directory')
  expect(errnoName(4711)).toBe('errno 4711')
  expect(errnoDescription(4711)).toBe('Unknown error 4711')
  expect(errnoNumber('ENOTSUP')).toBe(95)
  expect(errnoNumber('constructor')).toBeUndefined()
})

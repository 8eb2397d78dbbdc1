import { expect, test } from 'bun:test'
import { checkName, generateName, newContainerId } from './container-name.ts'

test('newContainerId() makes 64 hexadecimal digits, never the same', () => {
  const ids = Array.from({ length: 1000 }, newContainerId)
  expect(ids.every(id => /^[0-9a-f]{64}$/.test(id))).toBe(true)
  expect(new Set(ids).size).toBe(1000)
})

test('generateName() makes names that checkName() takes', () => {
  for (let count = 0; count < 1000; count++) {
    const name = generateName()
    expect(name).toMatch(/^[a-z]+_[a-z]+\d{4}$/)
    expect(checkName(name)).toBe(name)
  }
})

test.each(['web', 'a0', 'A.b-c_d', '0x'])('checkName() takes "%s"', name => {
  expect(checkName(name)).toBe(name)
})

test.each(['', 'a', '-ab', '.ab', '_ab', 'a/b', '../x', 'a b', 'ä1', 'ab\n'])('checkName() refuses %p', name => {
  expect(() => checkName(name)).toThrow(
    `Cannot use container name "${name}": only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
  )
})

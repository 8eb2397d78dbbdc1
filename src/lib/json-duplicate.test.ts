import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { duplicateName } from './json-duplicate.ts'

test.each<[string, string | null]>([
  ['{}', null],
  ['[]', null],
  ['"a"', null],
  ['7', null],
  ['{"a":1,"b":2}', null],
  ['{"a":{"a":1},"b":[{"a":1},{"a":2}]}', null],
  ['{"a":1,"a":1}', 'a'],
  ['{"a":1,"b":{"c":[1,{"d":0,"d":1}]}}', 'd'],
  ['{"a":1,"\\u0061":2}', 'a'],
  ['{"a":"{\\"b\\":1","b":2}', null],
  ['{"a":"\\\\","a":2}', 'a'],
  ['{"a":["x","x"],"x":"x"}', null],
  ['{"toString":1,"__proto__":2}', null],
  ['{"__proto__":1,"__proto__":2}', '__proto__'],
])('duplicateName() of %s is %j', (json, expected) => expect(duplicateName(json)).toBe(expected))

test('duplicateName() finds none in what JSON.stringify() writes', () => {
  fc.assert(fc.property(fc.jsonValue(), value => expect(duplicateName(JSON.stringify(value))).toBeNull()))
})

test('duplicateName() finds a name that is put in again, wherever', () => {
  const object = fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 })
  fc.assert(
    fc.property(object, fc.nat(), (value, nth) => {
      const names = Object.keys(value)
      const again = names[nth % names.length] ?? ''
      const json = `[${JSON.stringify(value).slice(0, -1)},${JSON.stringify(again)}:0}]`
      expect<unknown>(duplicateName(json)).toBe(again)
    }),
  )
})

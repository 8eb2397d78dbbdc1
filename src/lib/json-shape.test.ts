import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import {
  bigInteger,
  flag,
  formatJson,
  int64,
  integer,
  keyOf,
  list,
  map,
  matching,
  object,
  oneOf,
  parseJson,
  required,
  type Shape,
  text,
  uint64,
} from './json-shape.ts'

interface Pair {
  readonly name: string
  readonly on?: boolean
}

const pair = object<Pair>({ name: required(text), on: flag })

function errorOf<T>(json: string, shape: Shape<T>): string {
  try {
    parseJson(json, 'x.json', shape)
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  return 'no error'
}

describe('parseJson()', () => {
  const bad: readonly (readonly [json: string, shape: Shape<unknown>, message: string])[] = [
    ['{"name":7}', pair, 'name is 7, expected a text'],
    ['{}', pair, 'name is absent, expected it to be there'],
    ['{"name":null}', pair, 'name is absent, expected it to be there'],
    ['[]', pair, 'it is an array, expected an object'],
    ['[{"name":"a"},{"name":{}}]', list(pair), '[1].name is an object, expected a text'],
    ['{"a.b":1}', map(text), '["a.b"] is 1, expected a text'],
    ['1.5', integer(0, 9), 'it is 1.5, expected an integer from 0 to 9'],
    ['10', integer(0, 9), 'it is 10, expected an integer from 0 to 9'],
    ['18446744073709551616', uint64, 'it is 18446744073709551616, expected an integer from 0 to 18446744073709551615'],
    ['-9223372036854775809', int64, 'it is -9223372036854775809, expected an integer from -9223372036854775808'],
    ['9007199254740993.5', uint64, 'expected an integer from 0'],
    ['1e30', uint64, 'expected an integer from 0'],
    ['"x"', oneOf(['a', 'b']), 'it is "x", expected one of a, b'],
    ['"toString"', keyOf({ a: 1, b: 2 }), 'it is "toString", expected one of a, b'],
    ['"x"', matching(/^a+$/), 'it is "x", expected to match ^a+$'],
    ['[]', list(text, 1), 'it is an array, expected an array of at least 1'],
    ['{', text, 'expected JSON'],
    ['', text, 'expected JSON'],
  ]
  test.each(bad)('refuses %s', (json, shape, message) => {
    expect(errorOf(json, shape)).toStartWith('Cannot parse x.json: ')
    expect(errorOf(json, shape)).toContain(message)
  })

  test('leaves unknown properties out and names their paths', () => {
    const parsed = parseJson('[{"name":"a","nme":1,"on":null}]', 'x.json', list(pair))
    expect(parsed.value).toEqual([{ name: 'a' }])
    expect(parsed.warnings).toEqual(['x.json: unknown property [0].nme is ignored'])
  })

  test('takes __proto__ as a key like others', () => {
    const { value } = parseJson('{"__proto__":"x","constructor":"y"}', 'x.json', map(text))
    expect(Object.entries(value)).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ])
    expect(parseJson('{"name":"a","__proto__":{"on":true}}', 'x.json', pair).value.on).toBeUndefined()
  })

  test('keeps every digit of 64-bit integers, and formatJson() writes them back', () => {
    const any = bigInteger(-(1n << 63n), (1n << 64n) - 1n)
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: -(1n << 63n), max: (1n << 64n) - 1n })), numbers => {
        const json = formatJson(numbers)
        expect(json).toBe(`[${numbers.join(',')}]`)
        expect(parseJson(json, 'x.json', list(any)).value).toEqual(numbers)
      }),
    )
  })
})

import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { busPath } from './connection.ts'
import { decodeMessage, encodeMessage, METHOD_CALL, messageLength } from './message.ts'
import { DbusReader, DbusWriter, splitSignature } from './wire.ts'

/** A value with its signature. */
const typed = fc.letrec<{ value: [string, unknown] }>(tie => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.integer({ min: 0, max: 255 }).map((value): [string, unknown] => ['y', value]),
    fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }).map((value): [string, unknown] => ['i', value]),
    fc.integer({ min: 0, max: 2 ** 32 - 1 }).map((value): [string, unknown] => ['u', value]),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value): [string, unknown] => ['t', value]),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value): [string, unknown] => ['x', value]),
    fc.boolean().map((value): [string, unknown] => ['b', value]),
    fc
      .string({ unit: 'grapheme' })
      .filter(text => !text.includes('\0'))
      .map((value): [string, unknown] => ['s', value]),
    fc.uint8Array().map((value): [string, unknown] => ['ay', value]),
    fc.array(fc.string({ unit: 'grapheme-ascii' })).map((value): [string, unknown] => ['as', value]),
    tie('value').map(([signature, value]): [string, unknown] => ['v', { signature, value }]),
    fc
      .array(tie('value'), { minLength: 1, maxLength: 3 })
      .map((fields): [string, unknown] => [
        `(${fields.map(([signature]) => signature).join('')})`,
        fields.map(([, value]) => value),
      ]),
    fc
      .array(fc.tuple(fc.string({ unit: 'grapheme-ascii' }), fc.bigInt({ min: 0n, max: 9n })))
      .map((value): [string, unknown] => ['a(st)', value]),
  ),
})).value

describe('DbusReader', () => {
  test('undoes DbusWriter', () => {
    fc.assert(
      fc.property(fc.array(typed, { maxLength: 4 }), values => {
        const writer = new DbusWriter()
        for (const [signature, value] of values) writer.write(signature, value)
        const reader = new DbusReader(writer.bytes)
        for (const [signature, value] of values) expect(reader.read(signature)).toEqual(value)
        expect(reader.position).toBe(writer.bytes.length)
      }),
    )
  })
  test('reads back the byte for which the buffer had to grow', () => {
    const bytes = Uint8Array.from({ length: 1000 }, (_, index) => (index % 255) + 1)
    const writer = new DbusWriter()
    writer.write('ay', bytes)
    expect([...(new DbusReader(writer.bytes).read('ay') as Uint8Array)]).toEqual([...bytes])
  })
  test('throws on any cut instead of reading on', () => {
    const writer = new DbusWriter()
    writer.write('a(sv)', [['a', { signature: 't', value: 1n }]])
    for (let end = 0; end < writer.bytes.length; end++) {
      expect(() => new DbusReader(writer.bytes.subarray(0, end)).read('a(sv)')).toThrow()
    }
  })
})

describe('splitSignature()', () => {
  test('finds complete types', () =>
    expect(splitSignature('sa(sv)a{s(iu)}ayv')).toEqual(['s', 'a(sv)', 'a{s(iu)}', 'ay', 'v']))
  for (const bad of ['a', '(s', 'z', '(s}a'])
    test(`rejects ${bad}`, () => expect(() => splitSignature(bad)).toThrow('malformed'))
})

describe('decodeMessage()', () => {
  const message = {
    type: METHOD_CALL,
    serial: 7,
    path: '/a',
    interface: 'a.b',
    member: 'M',
    destination: 'c.d',
    signature: 'su',
    body: ['x', 5],
  }
  test('undoes encodeMessage()', () => {
    const bytes = encodeMessage(message)
    expect(messageLength(bytes)).toBe(bytes.length)
    expect(decodeMessage(bytes)).toEqual(message)
  })
  test('encodes Hello as the specification lays it out', () => {
    const hello = { type: METHOD_CALL, serial: 1, path: '/', member: 'Hello', body: [] }
    expect(encodeMessage(hello).toString('hex')).toBe(
      '6c01000100000000010000001e000000' +
        '01016f00010000002f00000000000000' +
        '03017300050000004865 6c6c6f000000'.replace(' ', ''),
    )
  })
})

describe('busPath()', () => {
  test('reads addresses of both buses', () => {
    expect(busPath('system', {})).toBe('/run/dbus/system_bus_socket')
    expect(busPath('user', { XDG_RUNTIME_DIR: '/run/user/7' })).toBe('/run/user/7/bus')
    expect(busPath('user', { DBUS_SESSION_BUS_ADDRESS: 'tcp:host=x;unix:guid=1,path=/a%20b' })).toBe('/a b')
  })
  test('rejects an address that is no path', () => {
    expect(() => busPath('user', { DBUS_SESSION_BUS_ADDRESS: 'unix:abstract=/x' })).toThrow('no usable address')
    expect(() => busPath('user', {})).toThrow('no usable address')
  })
})

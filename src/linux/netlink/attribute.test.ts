import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { type Attribute, bytes, NetlinkWriter, nested, parseAttributes, text, u8, u16, u32 } from './attribute.ts'

const type = fc.integer({ min: 1, max: 0x3fff })
const leaf = fc.tuple(type, fc.uint8Array({ maxLength: 40 }))

function write(attributes: readonly Attribute[]): Uint8Array {
  const writer = new NetlinkWriter()
  writer.attributes(attributes)
  return writer.finish()
}

function leaves(list: readonly (readonly [number, Uint8Array])[]): Attribute[] {
  return list.map(([type, value]) => bytes(type, value))
}

describe('attributes', () => {
  test('parseAttributes() gives back what was written, in order', () => {
    fc.assert(
      fc.property(fc.array(leaf, { maxLength: 20 }), list => {
        const read = parseAttributes(write(leaves(list))).entries()
        expect(read.map(({ type, value }) => [type, [...value]])).toEqual(
          list.map(([type, value]) => [type, [...value]]),
        )
      }),
    )
  })

  test('nested attributes come back whole at any depth', () => {
    fc.assert(
      fc.property(fc.array(leaf, { maxLength: 8 }), fc.array(type, { minLength: 1, maxLength: 6 }), (list, path) => {
        const wrapped = path.reduceRight((inner, outer) => [nested(outer, inner)], leaves(list))
        let read = parseAttributes(write(wrapped))
        for (const outer of path) {
          const inner = read.nested(outer)
          expect(inner).toBeDefined()
          if (inner !== undefined) read = inner
        }
        expect(read.entries().map(entry => entry.type)).toEqual(list.map(([type]) => type))
      }),
    )
  })

  test('every attribute starts on a multiple of 4', () => {
    fc.assert(fc.property(fc.array(leaf), list => write(leaves(list)).length % 4 === 0))
  })

  test('parseAttributes() throws or ends on any bytes, and never reads outside of them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), value => {
        try {
          for (const entry of parseAttributes(value).entries())
            expect(entry.value.length).toBeLessThanOrEqual(value.length)
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError)
        }
      }),
    )
  })

  test('a value longer than 16 bits can tell is refused', () => {
    expect(() => write([bytes(1, new Uint8Array(0xfffc))])).toThrow(RangeError)
    expect(() => write([nested(1, [bytes(1, new Uint8Array(0xfff8))])])).toThrow(RangeError)
    expect(write([bytes(1, new Uint8Array(0xfffb))])).toHaveLength(0x10000)
  })

  test('the typed readers read what the typed writers write', () => {
    const read = parseAttributes(write([u8(1, 200), u16(2, 0xabcd), u32(3, 0xdeadbeef), text(4, 'eth0'), text(4, 'é')]))
    expect(read.u8(1)).toBe(200)
    expect(read.bytes(2)).toEqual(Uint8Array.of(0xcd, 0xab))
    expect(read.u32(3)).toBe(0xdeadbeef)
    expect(read.text(4)).toBe('é')
    expect(read.texts(4)).toEqual(['eth0', 'é'])
    expect(read.u32(9)).toBeUndefined()
  })

  test('patches are placed at the value of their attribute', () => {
    const writer = new NetlinkWriter()
    writer.attributes([text(3, 'x'), nested(18, [{ type: 28, value: { patch: 'slotFd', slot: 5 } }])])
    expect(writer.patches).toEqual([{ offsetBytes: 8 + 4 + 4, value: { patch: 'slotFd', slot: 5 } }])
  })
})

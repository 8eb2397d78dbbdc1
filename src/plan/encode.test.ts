import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { kindsOf, OP_NAMES, stepOf } from '../../test/support/plan-steps.ts'
import { openFlagsOf } from '../linux/open-flags.ts'
import { argsOf, encodePlan } from './encode.ts'
import { type ArgKind, OPS, type OpName, WIRE } from './ops.ts'
import { SlotTable, STDIN } from './slots.ts'
import { hostPlan, type Join, type Plan, STAGES, type Step, step } from './step.ts'

const SLOTS = 512
const HEADER_BYTES = 32

/** What a step says on the wire: integers as such, fds as slot indices, -1 for none, and packed lists as bytes. */
interface WireStep {
  readonly op: OpName
  readonly tolerate: readonly number[]
  readonly warn: boolean
  readonly skipOnFailure: number
  readonly skipOnSuccess: number
  readonly args: readonly (bigint | string | Uint8Array | readonly string[])[]
}

/** Reads a frame by docs/plan-protocol.md and nothing else, and refuses whatever is not as it says. */
class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  u8(): number {
    return this.#view.getUint8(this.#at++)
  }
  u16(): number {
    this.#at += 2
    return this.#view.getUint16(this.#at - 2, true)
  }
  u32(): number {
    this.#at += 4
    return this.#view.getUint32(this.#at - 4, true)
  }
  i64(): bigint {
    this.#at += 8
    return this.#view.getBigInt64(this.#at - 8, true)
  }

  plan(): { readonly slotCount: number; readonly stages: readonly (readonly WireStep[])[] } {
    expect(this.u32()).toBe(0x50425448)
    expect(this.u32()).toBe(this.#bytes.length)
    expect(this.u16()).toBe(1)
    const slotCount = this.u16()
    const counts = STAGES.map(() => this.u32())
    const stages = counts.map(count => Array.from({ length: count }, () => this.step()))
    expect(this.#at).toBe(this.#bytes.length)
    return { slotCount, stages }
  }

  step(): WireStep {
    const start = this.#at
    expect(start % 8).toBe(0)
    const code = this.u16()
    const op = OP_NAMES.find(name => OPS[name].code === code)
    if (op === undefined) throw new Error(`no operation ${code}`)
    const tolerateCount = this.u8()
    const flags = this.u8()
    expect(flags & ~1).toBe(0)
    const skipOnFailure = this.u16()
    const skipOnSuccess = this.u16()
    const stepBytes = this.u32()
    const tolerate = Array.from({ length: tolerateCount }, () => this.u8())
    this.padding()
    const args = Object.values(kindsOf(op)).map(kind => this.argument(kind))
    expect(this.#at - start).toBe(stepBytes)
    return { op, tolerate, warn: flags === 1, skipOnFailure, skipOnSuccess, args }
  }

  argument(kind: ArgKind): WireStep['args'][number] {
    switch (WIRE[kind]) {
      case 'i':
      case 'f':
      case 'o':
        return this.i64()
      case 's': {
        const { length, second } = { length: this.u32(), second: this.u32() }
        expect(second).toBe(0)
        const text = this.take(length)
        expect(this.u8()).toBe(0)
        this.padding()
        return text.toString()
      }
      case 'b': {
        const { length, second } = { length: this.u32(), second: this.u32() }
        expect(second).toBe(0)
        const bytes = Uint8Array.from(this.take(length))
        this.padding()
        return bytes
      }
      case 'l': {
        const { count, length } = { count: this.u32(), length: this.u32() }
        const texts = this.take(length).toString().split('\0')
        expect(texts.pop()).toBe('')
        expect(texts.length).toBe(count)
        this.padding()
        return texts
      }
    }
  }

  take(length: number): Buffer {
    this.#at += length
    return Buffer.from(this.#bytes.slice(this.#at - length, this.#at))
  }

  padding(): void {
    while (this.#at % 8 !== 0) expect(this.u8()).toBe(0)
  }
}

/** The same of a step that was never encoded. */
function onWire(each: Step): WireStep {
  return {
    op: each.op,
    tolerate: each.tolerate === 'all' ? [255] : (each.tolerate ?? []),
    warn: each.warn ?? false,
    skipOnFailure: each.skipOnFailure ?? 0,
    skipOnSuccess: each.skipOnSuccess ?? 0,
    args: argsOf(each).map(([kind, value]) => valueOnWire(kind, value)),
  }
}

type Value = number | bigint | string | Uint8Array | readonly unknown[] | { index: number } | null

function valueOnWire(kind: ArgKind, given: unknown): WireStep['args'][number] {
  const value = given as Value
  const words = value as readonly number[]
  if (kind === 'openFlags') return BigInt(openFlagsOf(process.arch === 'arm64' ? 'arm64' : 'x64', Number(value)))
  if (kind === 'ids') return new Uint8Array(Uint32Array.from(words).buffer)
  if (kind === 'slots') {
    const slots = value as readonly { index: number }[]
    return new Uint8Array(Uint16Array.from(slots, ({ index }) => index).buffer)
  }
  if (kind === 'joins') {
    const joins = value as readonly Join[]
    return new Uint8Array(Uint32Array.from(joins.flatMap(({ slot, type }) => [slot.index, type])).buffer)
  }
  if (WIRE[kind] === 'i') return BigInt.asIntN(64, BigInt(value as number | bigint))
  if (value === null) return -1n
  if (WIRE[kind] === 'f' || WIRE[kind] === 'o') return BigInt((value as { index: number }).index)
  if (kind === 'bytes' || kind === 'bpf')
    return typeof value === 'string' ? Uint8Array.from(Buffer.from(value)) : (value as Uint8Array)
  return value as string | readonly string[]
}

const U32 = 0xffff_ffff
const text = fc.string({ unit: 'binary' }).map(each => each.replaceAll('\0', ''))
const slot = fc.nat(SLOTS - 1).map(index => ({ index, name: `slot${index}` }))

function valueFor(kind: ArgKind): fc.Arbitrary<unknown> {
  switch (kind) {
    case 'openFlags':
      return fc.nat(0o37777777)
    case 'ids':
      return fc.array(fc.nat(U32))
    case 'slots':
      return fc.array(slot)
    case 'joins':
      return fc.array(fc.record({ slot, type: fc.nat(U32) }))
    case 'bytes':
      return fc.oneof(fc.uint8Array(), text)
    case 'bpf':
      return fc.uint8Array()
    default:
      break
  }
  switch (WIRE[kind]) {
    case 'i':
      return fc.oneof(fc.maxSafeInteger(), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }))
    case 's':
      return text
    case 'l':
      return fc.array(text)
    default:
      return fc.option(slot)
  }
}

const anyStep: fc.Arbitrary<Step> = fc
  .record({
    op: fc.constantFrom(...OP_NAMES),
    options: fc.record(
      {
        why: fc.constant('test'),
        tolerate: fc.oneof(fc.constant('all' as const), fc.uniqueArray(fc.integer({ min: 1, max: 133 }))),
        skipOnFailure: fc.nat(0xffff),
        skipOnSuccess: fc.nat(0xffff),
        warn: fc.boolean(),
      },
      { requiredKeys: ['why'] },
    ),
  })
  .chain(({ op, options }) => {
    const values = Object.fromEntries(Object.entries(kindsOf(op)).map(([name, kind]) => [name, valueFor(kind)]))
    return fc.record(values).map(args => stepOf(op, args, options))
  })

const steps = fc.array(anyStep, { maxLength: 6 })
const anyPlan: fc.Arbitrary<Plan> = fc.record({
  host: steps,
  parent: steps,
  child: steps,
  exec: steps,
  undo: steps,
  slotCount: fc.nat(SLOTS),
})

function decoded(plan: Plan) {
  return new Reader(encodePlan(plan)).plan()
}

function encodedStep(each: Step): Uint8Array {
  return encodePlan(hostPlan([each], 3)).subarray(HEADER_BYTES)
}

describe('encodePlan()', () => {
  test('writes every plan such that a reader of the protocol finds it again', () => {
    fc.assert(
      fc.property(anyPlan, plan => {
        expect(decoded(plan)).toEqual({
          slotCount: plan.slotCount,
          stages: STAGES.map(stage => plan[stage].map(onWire)),
        })
      }),
    )
  })

  test('writes a step byte for byte as docs/plan-protocol.md says', () => {
    const bytes = encodedStep(step('unlink', { dir: null, path: 'ab', flags: 0x200 }, { why: '', tolerate: [2, 20] }))
    expect(Buffer.from(bytes).toString('hex', 0, 16)).toBe('090002000000000030000000' + '02140000')
    expect(Buffer.from(bytes).toString('hex', 16)).toBe(
      'ffffffffffffffff' + '0200000000000000' + '6162000000000000' + '0002000000000000',
    )
  })

  test.each([
    [0, '0000000000000000'],
    [-1, 'ffffffffffffffff'],
    [-5, 'fbffffffffffffff'],
    [2 ** 32, '0000000001000000'],
    [-(2 ** 32), '00000000ffffffff'],
    [Number.MAX_SAFE_INTEGER, 'ffffffffffff1f00'],
    [2 ** 63, '0000000000000080'],
    [2n ** 64n - 1n, 'ffffffffffffffff'],
    [-(2n ** 63n), '0000000000000080'],
  ])('writes the integer %p in 64 bits, lowest byte first', (hard, expected) => {
    const bytes = encodedStep(step('prlimit', { who: 0, resource: 7, soft: 0, hard }, ''))
    expect(Buffer.from(bytes).toString('hex', bytes.length - 8)).toBe(expected)
  })

  test('starts every step and every argument at a multiple of eight, whatever the lengths before it', () => {
    for (let length = 0; length < 20; length++) {
      const path = 'x'.repeat(length)
      const tolerate = Array.from({ length }, (_, index) => index + 1)
      const plan = hostPlan([step('chdir', { path }, { why: '', tolerate }), step('chroot', { path }, '')], 3)
      expect(decoded(plan).stages[0]?.map(({ args }) => args)).toEqual([[path], [path]])
      expect(encodePlan(plan).length % 8).toBe(0)
    }
  })

  test('grows its buffer for plans beyond its first size', () => {
    const data = new Uint8Array(100_000).fill(7)
    const plan = hostPlan([step('write', { dir: STDIN, path: '/x', data }, '')], 3)
    expect(decoded(plan).stages[0]?.[0]?.args).toEqual([0n, '/x', data])
  })

  test('keeps an empty list and a list of one empty text apart', () => {
    const argsWith = (paths: readonly string[]) =>
      decoded(hostPlan([step('access_exec', { paths }, '')], 3)).stages[0]?.[0]?.args
    expect(argsWith([])).toEqual([[]])
    expect(argsWith([''])).toEqual([['']])
  })

  test('refuses a NUL in a text or a list of texts, where it would end what follows', () => {
    const refusal = 'Cannot encode text "/etc\\u0000/x": it holds a NUL'
    const nul = '/etc\0/x'
    expect(() => encodedStep(step('chdir', { path: nul }, ''))).toThrow(new TypeError(refusal))
    expect(() => encodedStep(step('execve', { paths: ['a'], argv: ['a', nul], env: [] }, ''))).toThrow(refusal)
  })

  test('lets bytes hold a NUL', () => {
    const plan = hostPlan([step('write', { dir: null, path: 'x', data: 'a\0b' }, '')], 3)
    expect(decoded(plan).stages[0]?.[0]?.args[2]).toEqual(Uint8Array.of(97, 0, 98))
  })
})

describe('SlotTable', () => {
  test('hands out slots after stdio and the preserved fds, each once', () => {
    const slots = new SlotTable(2)
    expect([slots.preserved(0).index, slots.preserved(1).index]).toEqual([3, 4])
    expect([slots.allocate('a'), slots.allocate('b')]).toEqual([
      { index: 5, name: 'a' },
      { index: 6, name: 'b' },
    ])
    expect(slots.count).toBe(7)
  })
})

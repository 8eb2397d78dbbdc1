import { openFlagsOf } from '../linux/open-flags.ts'
import { type ArgKind, OPS, type OpName, WIRE } from './ops.ts'
import type { Slot } from './slots.ts'
import { type Join, type Plan, STAGES, type Step } from './step.ts'

const PLAN_MAGIC = 0x50425448
const PLAN_VERSION = 1
const HEADER_BYTES = 4 + 4 + 2 + 2 + 4 * STAGES.length
const STEP_HEADER_BYTES = 12
const TOLERATE_ALL = 255
const FLAG_WARN = 1

/** A plan is executed where it was encoded, and some flags of open(2) have other numbers on arm64. */
const ARCHITECTURE = process.arch === 'arm64' ? 'arm64' : 'x64'

const encoder = new TextEncoder()

/** A growing little-endian buffer whose positions are aligned relative to the frame's start. */
class Writer {
  #bytes = new Uint8Array(16 * 1024)
  #view = new DataView(this.#bytes.buffer)
  length = 0

  reserve(bytes: number): number {
    const at = this.length
    this.length += bytes
    if (this.length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.length, 2 * this.#bytes.length))
      grown.set(this.#bytes)
      this.#bytes = grown
      this.#view = new DataView(grown.buffer)
    }
    return at
  }

  align(): void {
    this.reserve((8 - (this.length % 8)) % 8)
  }

  u8(at: number, value: number): void {
    this.#bytes[at] = value
  }
  u16(at: number, value: number): void {
    this.#view.setUint16(at, value, true)
  }
  u32(at: number, value: number): void {
    this.#view.setUint32(at, value, true)
  }
  i64(value: number | bigint): void {
    const at = this.reserve(8)
    // Nearly all are small, and what was reserved is zero.
    if (typeof value === 'number' && value >= 0 && (value | 0) === value) {
      this.#view.setUint32(at, value, true)
      return
    }
    if (typeof value === 'bigint' || !Number.isSafeInteger(value)) {
      this.#view.setBigInt64(at, BigInt.asIntN(64, BigInt(value)), true)
      return
    }
    this.#view.setUint32(at, value, true)
    this.#view.setInt32(at + 4, Math.floor(value / 2 ** 32), true)
  }

  /** A length-prefixed run of bytes. */
  bytes(value: Uint8Array): void {
    const at = this.reserve(8 + value.length)
    this.u32(at, value.length)
    this.#bytes.set(value, at + 8)
    this.align()
  }

  /** The same of a text, with a NUL behind it that the length does not count. */
  text(value: string): void {
    // No UTF-16 unit takes more than three bytes of UTF-8.
    const at = this.reserve(8 + 3 * value.length + 1)
    const { written } = encoder.encodeInto(value, this.#bytes.subarray(at + 8))
    this.length = at + 8 + written + 1
    this.u32(at, written)
    this.align()
  }

  /** A counted list of NUL-terminated texts. */
  texts(values: readonly string[]): void {
    const joined = encoder.encode(values.map(value => `${value}\0`).join(''))
    const at = this.reserve(8 + joined.length)
    this.u32(at, values.length)
    this.u32(at + 4, joined.length)
    this.#bytes.set(joined, at + 8)
    this.align()
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.length)
  }
}

/**
 * Writes a plan in the form berth-init reads (docs/plan-protocol.md).
 * @throws {TypeError} when a text holds a NUL, which no system call could take
 */
export function encodePlan(plan: Plan): Uint8Array {
  const writer = new Writer()
  writer.reserve(HEADER_BYTES)
  writer.u32(0, PLAN_MAGIC)
  writer.u16(8, PLAN_VERSION)
  writer.u16(10, plan.slotCount)
  for (const [index, stage] of STAGES.entries()) writer.u32(12 + 4 * index, plan[stage].length)
  for (const stage of STAGES) for (const each of plan[stage]) encodeStep(writer, each)
  writer.u32(4, writer.length)
  return writer.finish()
}

function encodeStep(writer: Writer, step: Step): void {
  const start = writer.reserve(STEP_HEADER_BYTES)
  const tolerated = step.tolerate === 'all' ? [TOLERATE_ALL] : (step.tolerate ?? [])
  // Two words in place of five fields: nothing here is compiled before the plan is written, and each call counts.
  const flags = step.warn === true ? FLAG_WARN : 0
  writer.u32(start, OPS[step.op].code | (tolerated.length << 16) | (flags << 24))
  writer.u32(start + 4, (step.skipOnFailure ?? 0) | ((step.skipOnSuccess ?? 0) << 16))
  for (const errno of tolerated) writer.u8(writer.reserve(1), errno)
  writer.align()
  const values = step.args as Readonly<Record<string, unknown>>
  for (const { name, kind } of kindsOf(step.op)) encodeArg(writer, kind, values[name])
  writer.u32(start + 8, writer.length - start)
}

interface ArgOf {
  readonly name: string
  readonly kind: ArgKind
}

/** A plan has many steps of few kinds. */
const KINDS = new Map<OpName, readonly ArgOf[]>()

function kindsOf(op: OpName): readonly ArgOf[] {
  const known = KINDS.get(op)
  if (known !== undefined) return known
  const kinds = Object.entries<ArgKind>(OPS[op].args).map(([name, kind]) => ({ name, kind }))
  KINDS.set(op, kinds)
  return kinds
}

/** The arguments of a step as (kind, value) pairs in wire order. */
export function argsOf(step: Step): [ArgKind, unknown, string][] {
  const values = step.args as Readonly<Record<string, unknown>>
  return kindsOf(step.op).map(({ name, kind }) => [kind, values[name], name])
}

function encodeArg(writer: Writer, kind: ArgKind, value: unknown): void {
  switch (kind) {
    case 'ids':
      writer.bytes(packU32(value as readonly number[]))
      break
    case 'slots':
      writer.bytes(packU16((value as readonly Slot[]).map(slot => slot.index)))
      break
    case 'joins':
      writer.bytes(packU32((value as readonly Join[]).flatMap(join => [join.slot.index, join.type])))
      break
    case 'openFlags':
      writer.i64(openFlagsOf(ARCHITECTURE, Number(value)))
      break
    default:
      encodeWire(writer, WIRE[kind], value)
      break
  }
}

function encodeWire(writer: Writer, wire: (typeof WIRE)[ArgKind], value: unknown): void {
  switch (wire) {
    case 'i':
      writer.i64(value as number | bigint)
      break
    case 'f':
    case 'o':
      writer.i64((value as Slot | null)?.index ?? -1)
      break
    case 's':
      writer.text(withoutNul(value as string))
      break
    case 'l':
      writer.texts((value as readonly string[]).map(withoutNul))
      break
    case 'b':
      writer.bytes(typeof value === 'string' ? encoder.encode(value) : (value as Uint8Array))
      break
  }
}

function withoutNul(text: string): string {
  if (text.includes('\0')) throw new TypeError(`Cannot encode text ${JSON.stringify(text)}: it holds a NUL`)
  return text
}

function packU32(values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * values.length))
  values.forEach((value, index) => {
    view.setUint32(4 * index, value, true)
  })
  return new Uint8Array(view.buffer)
}

function packU16(values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(2 * values.length))
  values.forEach((value, index) => {
    view.setUint16(2 * index, value, true)
  })
  return new Uint8Array(view.buffer)
}

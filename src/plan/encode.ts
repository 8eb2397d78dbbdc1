import { openFlagsOf } from '../linux/open-flags.ts'
import { type ArgKind, OPS, type OpName, WIRE } from './ops.ts'
import type { Slot } from './slots.ts'
import { type Join, type Plan, STAGES, type Step } from './step.ts'

const PLAN_MAGIC = 0x50425448
const PLAN_VERSION = 1
const STEP_COUNTS_AT = 4 + 4 + 2 + 2
const HEADER_BYTES = STEP_COUNTS_AT + 4 * STAGES.length
const STEP_HEADER_BYTES = 12
const TOLERATE_ALL = 255
/** What a step takes at most, texts and bytes apart: its header, the errnos, and more numbers than any operation has. */
const STEP_ROOM_BYTES = 512
const FLAG_WARN = 1

/** A plan is executed where it was encoded, and some flags of open(2) have other numbers on arm64. */
const ARCHITECTURE = process.arch === 'arm64' ? 'arm64' : 'x64'

const encoder = new TextEncoder()

/**
 * A little-endian buffer that grows. Behind `length` it is zero. Everything begins at a multiple of 8.
 *
 * A plan has some 200 steps with 600 arguments, and is mostly written by a process that has just started, in which nothing is compiled
 * yet and a call costs more than what most of these functions do. So the numbers are written where they are found.
 */
interface Frame {
  bytes: Uint8Array
  view: DataView
  length: number
}

/**
 * Writes a plan in the form berth-init reads (docs/plan-protocol.md).
 * @throws {TypeError} when a text holds a NUL, which no system call could take
 */
export function encodePlan(plan: Plan): Uint8Array {
  const bytes = new Uint8Array(16 * 1024)
  const frame: Frame = { bytes, view: new DataView(bytes.buffer), length: HEADER_BYTES }
  frame.view.setUint32(0, PLAN_MAGIC, true)
  frame.view.setUint16(8, PLAN_VERSION, true)
  frame.view.setUint16(10, plan.slotCount, true)
  let at = STEP_COUNTS_AT
  for (const stage of STAGES) {
    frame.view.setUint32(at, plan[stage].length, true)
    at += 4
    for (const each of plan[stage]) encodeStep(frame, each)
  }
  frame.view.setUint32(4, frame.length, true)
  return frame.bytes.subarray(0, frame.length)
}

function encodeStep(frame: Frame, step: Step): void {
  const start = frame.length
  makeRoom(frame, STEP_ROOM_BYTES)
  const tolerated = step.tolerate === 'all' ? [TOLERATE_ALL] : (step.tolerate ?? [])
  const flags = step.warn === true ? FLAG_WARN : 0
  frame.view.setUint32(start, OPS[step.op].code | (tolerated.length << 16) | (flags << 24), true)
  frame.view.setUint32(start + 4, (step.skipOnFailure ?? 0) | ((step.skipOnSuccess ?? 0) << 16), true)
  let at = start + STEP_HEADER_BYTES
  for (const errno of tolerated) frame.bytes[at++] = errno
  at = (at + 7) & ~7
  const values = step.args as Readonly<Record<string, unknown>>
  for (const { name, kind } of kindsOf(step.op)) {
    const wire = WIRE[kind]
    const value = values[name]
    if (wire === 'i') {
      const number = kind === 'openFlags' ? openFlagsOf(ARCHITECTURE, Number(value)) : value
      if (typeof number !== 'number' || number < 0 || (number | 0) !== number) setInt64(frame.view, at, number)
      else if (number !== 0) frame.view.setUint32(at, number, true)
      at += 8
    } else if (wire === 'f' || wire === 'o') {
      const slot = value as Slot | null
      if (slot === null) setInt64(frame.view, at, -1)
      else frame.view.setUint32(at, slot.index, true)
      at += 8
    } else {
      frame.length = at
      encodeRun(frame, kind, value)
      at = frame.length
      makeRoom(frame, STEP_ROOM_BYTES)
    }
  }
  frame.length = at
  frame.view.setUint32(start + 8, at - start, true)
}

function setInt64(view: DataView, at: number, value: unknown): void {
  view.setBigInt64(at, BigInt.asIntN(64, BigInt(value as number | bigint)), true)
}

function makeRoom(frame: Frame, bytes: number): void {
  if (frame.length + bytes <= frame.bytes.length) return
  const grown = new Uint8Array(2 * (frame.length + bytes))
  grown.set(frame.bytes)
  frame.bytes = grown
  frame.view = new DataView(grown.buffer)
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
  const args: Readonly<Record<string, ArgKind>> = OPS[op].args
  const kinds: ArgOf[] = []
  for (const name in args) kinds.push({ name, kind: args[name] as ArgKind })
  KINDS.set(op, kinds)
  return kinds
}

/** The arguments of a step as (kind, value) pairs in wire order. */
export function argsOf(step: Step): [ArgKind, unknown, string][] {
  const values = step.args as Readonly<Record<string, unknown>>
  return kindsOf(step.op).map(({ name, kind }) => [kind, values[name], name])
}

/** What has a length of its own: a text, a list of them, bytes. */
function encodeRun(frame: Frame, kind: ArgKind, value: unknown): void {
  if (kind === 'texts') encodeTexts(frame, value as readonly string[])
  else if (typeof value === 'string') encodeText(frame, kind === 'bytes' ? value : withoutNul(value), kind !== 'bytes')
  else encodeBytes(frame, bytesOf(kind, value))
}

function bytesOf(kind: ArgKind, value: unknown): Uint8Array {
  switch (kind) {
    case 'ids':
      return new Uint8Array(new Uint32Array(value as readonly number[]).buffer)
    case 'slots':
      return new Uint8Array(new Uint16Array((value as readonly Slot[]).map(slot => slot.index)).buffer)
    case 'joins':
      return new Uint8Array(
        new Uint32Array((value as readonly Join[]).flatMap(join => [join.slot.index, join.type])).buffer,
      )
    default:
      return value as Uint8Array
  }
}

/** A length and the text as UTF-8; `terminated`: with a NUL behind it that the length does not count. */
function encodeText(frame: Frame, value: string, terminated: boolean): void {
  // No UTF-16 unit takes more than three bytes of UTF-8.
  makeRoom(frame, 8 + 3 * value.length + 8)
  const at = frame.length
  const { written } = encoder.encodeInto(value, frame.bytes.subarray(at + 8))
  frame.view.setUint32(at, written, true)
  frame.length = (at + 8 + written + (terminated ? 1 : 0) + 7) & ~7
}

function encodeBytes(frame: Frame, value: Uint8Array): void {
  makeRoom(frame, 8 + value.length + 8)
  const at = frame.length
  frame.view.setUint32(at, value.length, true)
  frame.bytes.set(value, at + 8)
  frame.length = (at + 8 + value.length + 7) & ~7
}

/** A counted list of NUL-terminated texts. */
function encodeTexts(frame: Frame, values: readonly string[]): void {
  let joined = ''
  for (const value of values) joined += `${withoutNul(value)}\0`
  const at = frame.length
  encodeText(frame, joined, false)
  frame.view.setUint32(at + 4, frame.view.getUint32(at, true), true)
  frame.view.setUint32(at, values.length, true)
}

function withoutNul(text: string): string {
  if (text.includes('\0')) throw new TypeError(`Cannot encode text ${JSON.stringify(text)}: it holds a NUL`)
  return text
}

import { BerthError } from '../../lib/error.ts'
import { DbusReader, DbusWriter, splitSignature } from './wire.ts'

export const METHOD_CALL = 1
export const METHOD_RETURN = 2
export const ERROR = 3
export const SIGNAL = 4

/** Header field codes. Source: D-Bus specification › Header Fields. */
const FIELDS = [
  ['path', 1, 'o'],
  ['interface', 2, 's'],
  ['member', 3, 's'],
  ['errorName', 4, 's'],
  ['replySerial', 5, 'u'],
  ['destination', 6, 's'],
  ['sender', 7, 's'],
  ['signature', 8, 'g'],
] as const

/** One message. Which fields there are depends on the type. */
export interface DbusMessage {
  readonly type: number
  readonly serial: number
  readonly path?: string
  readonly interface?: string
  readonly member?: string
  readonly errorName?: string
  readonly replySerial?: number
  readonly destination?: string
  readonly sender?: string
  readonly signature?: string
  readonly body: readonly unknown[]
}

/** Message → bytes. Layout: `l` (little-endian), type, flags, version 1, body length, serial, a(yv) of fields, padding, body. */
export function encodeMessage(message: DbusMessage): Buffer {
  const body = new DbusWriter()
  for (const [i, type] of splitSignature(message.signature ?? '').entries()) body.write(type, message.body[i])
  const writer = new DbusWriter()
  for (const byte of [0x6c, message.type, 0, 1]) writer.write('y', byte)
  writer.write('u', body.bytes.length)
  writer.write('u', message.serial)
  const fields = FIELDS.flatMap(([field, code, signature]) =>
    message[field] === undefined ? [] : [[code, { signature, value: message[field] }]],
  )
  writer.write('a(yv)', fields)
  writer.align(8)
  return Buffer.concat([writer.bytes, body.bytes])
}

const FIXED_HEADER_BYTES = 16

/** How long the message at the start of a buffer is; null when too little of it is there to say. */
export function messageLength(bytes: Buffer): number | null {
  if (bytes.length < FIXED_HEADER_BYTES) return null
  if (bytes[0] !== 0x6c) throw new BerthError('internal', 'Cannot read D-Bus message: not little-endian')
  const fieldsBytes = bytes.readUInt32LE(12)
  return ((FIXED_HEADER_BYTES + fieldsBytes + 7) & ~7) + bytes.readUInt32LE(4)
}

/** Bytes of one whole message → message. */
export function decodeMessage(bytes: Buffer): DbusMessage {
  const reader = new DbusReader(bytes, 12)
  const fields: Record<string, unknown> = {}
  for (const [code, variant] of reader.read('a(yv)') as [number, { value: unknown }][]) {
    const field = FIELDS.find(each => each[1] === code)
    if (field !== undefined) fields[field[0]] = variant.value
  }
  reader.align(8)
  // A signature counts its alignment from the start of the body.
  const body = new DbusReader(bytes.subarray(reader.position))
  const types = splitSignature(typeof fields['signature'] === 'string' ? fields['signature'] : '')
  return { type: bytes[1] ?? 0, serial: bytes.readUInt32LE(8), ...fields, body: types.map(type => body.read(type)) }
}

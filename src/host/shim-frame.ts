import { BerthError } from '../lib/error.ts'

/** One frame of docs/shim-protocol.md: `u8 type, u8 zero[3], u32 payloadBytes, payload`, little-endian. */
export interface ShimFrame {
  readonly type: number
  readonly payload: Uint8Array
}

/** Types of the frames a client sends. */
export const CLIENT_FRAME = { stdin: 0, closeStdin: 1, resize: 2, signal: 3, attach: 4 } as const
/** Types of the frames the shim sends. */
export const SHIM_FRAME = { stdout: 1, stderr: 2, exit: 3, attached: 4 } as const

/** The longest payload of a frame, both ways. */
export const PAYLOAD_LIMIT_BYTES = 64 * 1024
const HEADER_BYTES = 8

/** The bytes of one frame. The payload is copied and must be at most {@link PAYLOAD_LIMIT_BYTES} long. */
export function encodeShimFrame(type: number, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  if (payload.length > PAYLOAD_LIMIT_BYTES) throw new RangeError(`frame payload of ${payload.length} bytes`)
  const frame = new Uint8Array(HEADER_BYTES + payload.length)
  const view = new DataView(frame.buffer)
  view.setUint8(0, type)
  view.setUint32(4, payload.length, true)
  frame.set(payload, HEADER_BYTES)
  return frame
}

/** STDIN frames for any number of bytes. */
export function encodeStdin(bytes: Uint8Array): Uint8Array[] {
  const frames: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += PAYLOAD_LIMIT_BYTES) {
    frames.push(encodeShimFrame(CLIENT_FRAME.stdin, bytes.subarray(at, at + PAYLOAD_LIMIT_BYTES)))
  }
  return frames
}

/** A RESIZE frame. @throws {BerthError} invalidArgument: a size that is not in 0…65535 */
export function encodeResize(rows: number, columns: number): Uint8Array {
  for (const size of [rows, columns]) {
    if (!Number.isInteger(size) || size < 0 || size > 0xffff) {
      throw new BerthError(
        'invalidArgument',
        `Cannot resize terminal to "${rows}x${columns}": expected 0 to 65535 each`,
      )
    }
  }
  const payload = new Uint8Array(4)
  const view = new DataView(payload.buffer)
  view.setUint16(0, rows, true)
  view.setUint16(2, columns, true)
  return encodeShimFrame(CLIENT_FRAME.resize, payload)
}

/** A SIGNAL frame. @throws {BerthError} invalidArgument: a signal that is not in 1…64, which the shim would refuse */
export function encodeSignal(signal: number): Uint8Array {
  if (!Number.isInteger(signal) || signal < 1 || signal > 64) {
    throw new BerthError('invalidArgument', `Cannot send signal "${signal}": expected a number from 1 to 64`)
  }
  return encodeShimFrame(CLIENT_FRAME.signal, u32(signal))
}

/** An ATTACH frame that asks for these streams. */
export function encodeAttach(streams: { readonly stdout: boolean; readonly stderr: boolean }): Uint8Array {
  return encodeShimFrame(CLIENT_FRAME.attach, u32((streams.stdout ? 1 : 0) | (streams.stderr ? 2 : 0)))
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}

/** Cuts a byte stream into frames, however it is split. */
export class ShimFrameParser {
  #chunks: Uint8Array[] = []
  #pendingBytes = 0
  #wantedBytes = HEADER_BYTES

  /**
   * Adds bytes and returns the frames that are complete; their payloads may share memory with `chunk`.
   * @throws {RangeError} when the stream can't be a peer's: padding that is not zero, a payload over the limit
   */
  push(chunk: Uint8Array): ShimFrame[] {
    this.#chunks.push(chunk)
    this.#pendingBytes += chunk.length
    if (this.#pendingBytes < this.#wantedBytes) return []
    // Joined once per frame and not once per chunk: a frame that comes byte by byte must not cost its square.
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks)
    const frames: ShimFrame[] = []
    let at = 0
    for (;;) {
      this.#wantedBytes = frameBytes(bytes, at)
      if (bytes.length - at < this.#wantedBytes) break
      const end = at + this.#wantedBytes
      frames.push({ type: bytes[at] ?? 0, payload: bytes.subarray(at + HEADER_BYTES, end) })
      at = end
    }
    this.#chunks = at === bytes.length ? [] : [bytes.subarray(at)]
    this.#pendingBytes = bytes.length - at
    return frames
  }
}

/** How many bytes the frame at `at` has; those of a header when that is not complete. */
function frameBytes(bytes: Uint8Array, at: number): number {
  if (bytes.length - at < HEADER_BYTES) return HEADER_BYTES
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, HEADER_BYTES)
  const payloadBytes = view.getUint32(4, true)
  if (view.getUint32(0, true) >>> 8 !== 0) throw new RangeError('frame with padding that is not zero')
  if (payloadBytes > PAYLOAD_LIMIT_BYTES) throw new RangeError(`frame payload of ${payloadBytes} bytes`)
  return HEADER_BYTES + payloadBytes
}

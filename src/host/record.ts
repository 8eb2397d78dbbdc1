import { STAGES, type Stage } from '../plan/step.ts'

/** What berth-init tells on its fd 1; see docs/plan-protocol.md, "Records". */
export type Record =
  | { readonly kind: 'pid'; readonly pid: number }
  | { readonly kind: 'done' }
  | {
      readonly kind: 'fail' | 'warn'
      /** The stage of the step; null when the plan itself was refused. */
      readonly stage: Stage | null
      readonly step: number
      readonly errno: number
      /** What the kernel or a hook said about it; may be empty. */
      readonly message: string
    }
  | { readonly kind: 'ask'; readonly tag: number }
  | { readonly kind: 'exit'; readonly waitStatus: number }
  | { readonly kind: 'data'; readonly bytes: Uint8Array }

const HEADER_BYTES = 12
/** The longest payload: the DATA of one `read` or of a netlink dump. */
const PAYLOAD_LIMIT_BYTES = 16 * 1024 * 1024

/** Cuts the byte stream of a berth-init into records. */
export class RecordParser {
  #pending: Uint8Array = new Uint8Array(0)

  /**
   * Adds bytes and returns the records that are complete.
   * @throws {RangeError} when the stream can't be berth-init's
   */
  push(chunk: Uint8Array): Record[] {
    const bytes = this.#pending.length === 0 ? chunk : concat(this.#pending, chunk)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const records: Record[] = []
    let at = 0
    while (bytes.length - at >= HEADER_BYTES) {
      const payloadBytes = view.getUint32(at, true)
      if (payloadBytes > PAYLOAD_LIMIT_BYTES) throw new RangeError(`record of ${payloadBytes} bytes`)
      const end = at + HEADER_BYTES + payloadBytes
      if (end > bytes.length) break
      records.push(decode(view, at, bytes.subarray(at + HEADER_BYTES, end)))
      at = end
    }
    this.#pending = bytes.slice(at)
    return records
  }
}

function decode(view: DataView, at: number, payload: Uint8Array): Record {
  const kind = view.getUint16(at + 4, true)
  const body = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  switch (kind) {
    case 1:
      return { kind: 'pid', pid: body.getUint32(0, true) }
    case 2:
      return { kind: 'done' }
    case 3:
    case 4:
      return {
        kind: kind === 3 ? 'fail' : 'warn',
        stage: STAGES[view.getUint16(at + 6, true)] ?? null,
        step: view.getUint32(at + 8, true),
        errno: body.getInt32(0, true),
        message: new TextDecoder().decode(payload.subarray(4)),
      }
    case 5:
      return { kind: 'ask', tag: body.getInt32(0, true) }
    case 6:
      return { kind: 'exit', waitStatus: body.getInt32(0, true) }
    case 7:
      return { kind: 'data', bytes: payload.slice() }
    default:
      throw new RangeError(`record of kind ${kind}`)
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length)
  joined.set(a)
  joined.set(b, a.length)
  return joined
}

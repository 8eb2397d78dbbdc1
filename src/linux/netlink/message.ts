/**
 * Netlink messages: a header, a fixed structure of the family, and attributes.
 *
 * ```
 *  0         4          6           8         12          16
 *  ├ u32 len ┼ u16 type ┼ u16 flags ┼ u32 seq ┼ u32 port ┼ family structure ┼ attributes …   next message 4-aligned
 * ```
 * Source: netlink(7), rtnetlink(7).
 */
import { type Attribute, type NetlinkWriter, viewOf } from './attribute.ts'

export const NETLINK_ROUTE = 0

export const NLM_F_REQUEST = 0x1
export const NLM_F_ACK = 0x4
/** The dump met a change while it was made and may be inconsistent: read again. */
export const NLM_F_DUMP_INTR = 0x10
export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_DUMP = 0x300
export const NLM_F_CREATE = 0x400

export const NLMSG_NOOP = 1
export const NLMSG_ERROR = 2
export const NLMSG_DONE = 3

export const NLMSG_HEADER_BYTES = 16

/** A message to send; who sends it gives it its sequence number. */
export interface NetlinkMessage {
  readonly type: number
  /** NLM_F_* besides REQUEST and ACK, which every message of a batch has. */
  readonly flags: number
  /** The family's structure, e.g. `struct ifinfomsg`. */
  readonly header: Uint8Array
  readonly attributes: readonly Attribute[]
}

/** A message that came back. */
export interface ReceivedMessage {
  readonly type: number
  readonly flags: number
  readonly sequence: number
  /** What follows the header: the family's structure and attributes. */
  readonly payload: Uint8Array
}

/** Appends a message, padded so that the next one is aligned. */
export function writeMessage(writer: NetlinkWriter, message: NetlinkMessage, sequence: number): void {
  const at = writer.reserve(NLMSG_HEADER_BYTES)
  writer.append(message.header)
  writer.align()
  writer.attributes(message.attributes)
  writer.u32(at, writer.length - at)
  writer.u16(at + 4, message.type)
  writer.u16(at + 6, message.flags)
  writer.u32(at + 8, sequence)
}

/**
 * Cuts received bytes into messages.
 * @throws {RangeError} when a length points outside of `bytes`
 */
export function parseMessages(bytes: Uint8Array): ReceivedMessage[] {
  const view = viewOf(bytes)
  const messages: ReceivedMessage[] = []
  let at = 0
  while (bytes.length - at >= NLMSG_HEADER_BYTES) {
    const lengthBytes = view.getUint32(at, true)
    if (lengthBytes < NLMSG_HEADER_BYTES || lengthBytes > bytes.length - at)
      throw new RangeError(`netlink message of ${lengthBytes} bytes where ${bytes.length - at} are left`)
    messages.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      payload: bytes.subarray(at + NLMSG_HEADER_BYTES, at + lengthBytes),
    })
    at += (lengthBytes + 3) & ~3
  }
  return messages
}

/** The messages of one or more dumps, and whether a change in between may have made them inconsistent. */
export interface Dump {
  readonly messages: readonly ReceivedMessage[]
  readonly interrupted: boolean
}

/**
 * Reads what dumps returned (the DATA of a netlink step), without the messages that only mark an end.
 * @throws {RangeError} when the bytes are no messages
 */
export function parseDump(data: readonly Uint8Array[]): Dump {
  const all = data.flatMap(parseMessages)
  return {
    messages: all.filter(message => message.type > NLMSG_DONE),
    interrupted: all.some(message => (message.flags & NLM_F_DUMP_INTR) !== 0),
  }
}

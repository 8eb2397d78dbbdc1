/**
 * Attributes of netlink messages: type, length and value, 4-byte aligned, some of them holding attributes themselves.
 *
 * ```
 *  0        2        4            4+n   padding to 4
 *  ├ u16 len ┼ u16 type ┼ value n bytes ┼┄┄┄┤        len = 4 + n, without the padding
 * ```
 * Numbers are in the machine's byte order, which is little-endian wherever Berth runs.
 * Source: netlink(7), rtnetlink(3), Linux Documentation/userspace-api/netlink/intro.rst.
 */

export const NLA_F_NESTED = 0x8000
export const NLA_TYPE_MASK = 0x3fff
const HEADER_BYTES = 4
const LENGTH_LIMIT_BYTES = 0xffff

/** A 32-bit value that only berth-init knows: the pid of the plan's child, or the number of the fd in a slot. */
export type Patch =
  | { readonly patch: 'childPid' }
  /** `slot` is the index of the plan's slot. */
  | { readonly patch: 'slotFd'; readonly slot: number }

/** A value that starts with a fixed structure which attributes follow (VETH_INFO_PEER: a `struct ifinfomsg`). */
export interface Prefixed {
  readonly header: Uint8Array
  readonly attributes: readonly Attribute[]
}

export type AttributeValue = Uint8Array | readonly Attribute[] | Prefixed | Patch

/** An attribute to send. */
export interface Attribute {
  readonly type: number
  readonly value: AttributeValue
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** An 8-bit number. */
export function u8(type: number, value: number): Attribute {
  return { type, value: Uint8Array.of(value) }
}

/** A 16-bit number. */
export function u16(type: number, value: number): Attribute {
  return { type, value: Uint8Array.of(value & 0xff, value >>> 8) }
}

/** A 32-bit number, or the bits of a negative one. */
export function u32(type: number, value: number): Attribute {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return { type, value: bytes }
}

/** A NUL-terminated text, as the kernel's NLA_NUL_STRING. */
export function text(type: number, value: string): Attribute {
  return { type, value: encoder.encode(`${value}\0`) }
}

/** Bytes as they are: addresses, structures. */
export function bytes(type: number, value: Uint8Array): Attribute {
  return { type, value }
}

/** An attribute that holds attributes. */
export function nested(type: number, attributes: readonly Attribute[]): Attribute {
  return { type, value: attributes }
}

/** Where in the written bytes a patch goes. */
export interface PlacedPatch {
  readonly offsetBytes: number
  readonly value: Patch
}

/** The bytes of messages as they grow, and the places berth-init has to fill in. */
export class NetlinkWriter {
  #bytes = new Uint8Array(512)
  #view = new DataView(this.#bytes.buffer)
  #length = 0
  readonly patches: PlacedPatch[] = []

  get length(): number {
    return this.#length
  }

  u16(at: number, value: number): void {
    this.#view.setUint16(at, value, true)
  }

  u32(at: number, value: number): void {
    this.#view.setUint32(at, value, true)
  }

  /** Makes room for zero bytes and returns where they start. */
  reserve(count: number): number {
    const at = this.#length
    this.#length += count
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length))
      grown.set(this.#bytes)
      this.#bytes = grown
      this.#view = new DataView(grown.buffer)
    }
    return at
  }

  append(value: Uint8Array): void {
    const at = this.reserve(value.length)
    this.#bytes.set(value, at)
  }

  align(): void {
    this.reserve((4 - (this.#length % 4)) % 4)
  }

  /** @throws {RangeError} when a value does not fit the 16-bit length (class of CVE-2021-43784) */
  attributes(list: readonly Attribute[]): void {
    for (const attribute of list) this.#attribute(attribute)
  }

  #attribute({ type, value }: Attribute): void {
    const at = this.reserve(HEADER_BYTES)
    const holdsAttributes = !(value instanceof Uint8Array) && !('patch' in value)
    if (value instanceof Uint8Array) this.append(value)
    else if ('patch' in value) this.patches.push({ offsetBytes: this.reserve(4), value })
    else if ('header' in value) {
      this.append(value.header)
      this.align()
      this.attributes(value.attributes)
    } else this.attributes(value)
    const lengthBytes = this.#length - at
    if (lengthBytes > LENGTH_LIMIT_BYTES) throw new RangeError(`netlink attribute ${type} of ${lengthBytes} bytes`)
    this.u16(at, lengthBytes)
    this.u16(at + 2, holdsAttributes ? type | NLA_F_NESTED : type)
    this.align()
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }
}

/** Received attributes, read by type; of a repeated one the last counts, as in the kernel. */
export class Attributes {
  readonly #list: readonly { readonly type: number; readonly value: Uint8Array }[]

  constructor(list: readonly { readonly type: number; readonly value: Uint8Array }[]) {
    this.#list = list
  }

  bytes(type: number): Uint8Array | undefined {
    return this.#list.findLast(attribute => attribute.type === type)?.value
  }

  u8(type: number): number | undefined {
    return this.bytes(type)?.[0]
  }

  /** @throws {RangeError} when the value is shorter than 4 bytes */
  u32(type: number): number | undefined {
    const value = this.bytes(type)
    return value === undefined ? undefined : viewOf(value).getUint32(0, true)
  }

  /** A text up to its NUL. */
  text(type: number): string | undefined {
    const value = this.bytes(type)
    return value === undefined ? undefined : textOf(value)
  }

  /** @throws {RangeError} as {@link parseAttributes} */
  nested(type: number): Attributes | undefined {
    const value = this.bytes(type)
    return value === undefined ? undefined : parseAttributes(value)
  }

  /** Every text of a repeated type, in order. */
  texts(type: number): readonly string[] {
    return this.#list.filter(attribute => attribute.type === type).map(attribute => textOf(attribute.value))
  }

  /** Type and value of each, in order. */
  entries(): readonly { readonly type: number; readonly value: Uint8Array }[] {
    return this.#list
  }
}

/**
 * Reads attributes; the flag bits of types (NLA_F_NESTED, NLA_F_NET_BYTEORDER) are removed.
 * @throws {RangeError} when a length points outside of `value`
 */
export function parseAttributes(value: Uint8Array): Attributes {
  const view = viewOf(value)
  const list: { type: number; value: Uint8Array }[] = []
  let at = 0
  while (value.length - at >= HEADER_BYTES) {
    const lengthBytes = view.getUint16(at, true)
    if (lengthBytes < HEADER_BYTES || lengthBytes > value.length - at)
      throw new RangeError(`netlink attribute of ${lengthBytes} bytes where ${value.length - at} are left`)
    const type = view.getUint16(at + 2, true) & NLA_TYPE_MASK
    list.push({ type, value: value.subarray(at + HEADER_BYTES, at + lengthBytes) })
    at += (lengthBytes + 3) & ~3
  }
  return new Attributes(list)
}

/** A view of exactly these bytes. */
export function viewOf(value: Uint8Array): DataView {
  return new DataView(value.buffer, value.byteOffset, value.byteLength)
}

function textOf(value: Uint8Array): string {
  const end = value.indexOf(0)
  return decoder.decode(end === -1 ? value : value.subarray(0, end))
}

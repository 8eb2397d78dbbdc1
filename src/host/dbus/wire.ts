import { BerthError } from '../../lib/error.ts'

/**
 * D-Bus values in their wire form: little-endian, each aligned to its own size.
 *
 *   y byte  b boolean  q u16  n i16  u u32  i i32  t u64  x i64  d double      numbers; t and x are bigints
 *   s text  o object path  g signature  v {@link Variant}                      texts
 *   aT list of T (ay: bytes)  (TT…) list of fields  {KV} pair                  containers
 *
 * Source: D-Bus specification › Marshaling (Wire Format).
 */
export interface Variant {
  readonly signature: string
  readonly value: unknown
}

/** The longest message the bus takes (specification › Message Format). */
const MAX_MESSAGE_BYTES = 1 << 27

const ALIGNMENT: Readonly<Record<string, number>> = {
  y: 1,
  g: 1,
  v: 1,
  n: 2,
  q: 2,
  b: 4,
  i: 4,
  u: 4,
  s: 4,
  o: 4,
  a: 4,
  x: 8,
  t: 8,
  d: 8,
  '(': 8,
  '{': 8,
}

/** Splits a signature into its complete types: `sa(sv)u` → `s`, `a(sv)`, `u`. */
export function splitSignature(signature: string): readonly string[] {
  const types: string[] = []
  for (let at = 0; at < signature.length; ) {
    const end = typeEnd(signature, at)
    types.push(signature.slice(at, end))
    at = end
  }
  return types
}

function typeEnd(signature: string, start: number): number {
  let at = start
  while (signature[at] === 'a') at++
  const open = signature[at]
  if (open !== '(' && open !== '{') {
    if (open === undefined || ALIGNMENT[open] === undefined) throw malformed(signature)
    return at + 1
  }
  for (at++; signature[at] !== ')' && signature[at] !== '}'; ) {
    if (at >= signature.length) throw malformed(signature)
    at = typeEnd(signature, at)
  }
  return at + 1
}

function malformed(what: string): BerthError {
  return new BerthError('internal', `Cannot convert D-Bus value "${what}": malformed`)
}

/** Writes values one after another. */
export class DbusWriter {
  #bytes = Buffer.alloc(256)
  #length = 0

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  align(to: number): void {
    this.#grow(-this.#length & (to - 1))
  }

  #grow(count: number): number {
    const at = this.#length
    this.#length += count
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.alloc(this.#length * 2)
      this.#bytes.copy(larger)
      this.#bytes = larger
    }
    return at
  }

  write(type: string, value: unknown): void {
    const first = type[0] ?? ''
    this.align(ALIGNMENT[first] ?? 1)
    switch (first) {
      case 'y':
        this.#writeAt(1, at => {
          this.#bytes[at] = Number(value)
        })
        return
      case 'n':
      case 'q':
        this.#writeAt(2, at => this.#bytes.writeUInt16LE(Number(value) & 0xffff, at))
        return
      case 'b':
      case 'i':
      case 'u':
        this.#writeAt(4, at => this.#bytes.writeUInt32LE(Number(value) >>> 0, at))
        return
      case 'x':
      case 't':
        this.#writeAt(8, at => this.#bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value as bigint)), at))
        return
      case 'd':
        this.#writeAt(8, at => this.#bytes.writeDoubleLE(Number(value), at))
        return
      case 's':
      case 'o':
        this.#text(String(value), 4)
        return
      case 'g':
        this.#text(String(value), 1)
        return
      case 'v':
        this.#variant(value as Variant)
        return
      case 'a':
        this.#array(type.slice(1), value as Iterable<unknown>)
        return
      default:
        this.#fields(type, value as readonly unknown[])
    }
  }

  /** `put` is called after room was made, because making room may replace the buffer. */
  #writeAt(size: number, put: (at: number) => void): void {
    put(this.#grow(size))
  }

  #text(text: string, lengthBytes: 1 | 4): void {
    const bytes = Buffer.from(text)
    if (bytes.includes(0)) throw malformed(text)
    if (lengthBytes === 4) this.#writeAt(4, at => this.#bytes.writeUInt32LE(bytes.length, at))
    else this.#writeAt(1, at => this.#bytes.writeUInt8(bytes.length, at))
    this.#writeAt(bytes.length + 1, at => bytes.copy(this.#bytes, at))
  }

  #variant({ signature, value }: Variant): void {
    this.#text(signature, 1)
    this.write(signature, value)
  }

  #array(element: string, values: Iterable<unknown>): void {
    const lengthAt = this.#grow(4)
    // The length does not count the padding before the first element.
    this.align(ALIGNMENT[element[0] ?? ''] ?? 1)
    const start = this.#length
    for (const value of values) this.write(element, value)
    this.#bytes.writeUInt32LE(this.#length - start, lengthAt)
  }

  #fields(type: string, values: readonly unknown[]): void {
    const types = splitSignature(type.slice(1, -1))
    if (types.length !== values.length) throw malformed(type)
    for (const [i, each] of types.entries()) this.write(each, values[i])
  }
}

/** Reads values one after another; throws on anything beyond the end. */
export class DbusReader {
  readonly #bytes: Buffer
  #at: number

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes
    this.#at = at
  }

  get position(): number {
    return this.#at
  }

  align(to: number): void {
    this.#at = (this.#at + to - 1) & ~(to - 1)
  }

  read(type: string): unknown {
    const first = type[0] ?? ''
    this.align(ALIGNMENT[first] ?? 1)
    switch (first) {
      case 'y':
        return this.#bytes.readUInt8(this.#skip(1))
      case 'n':
        return this.#bytes.readInt16LE(this.#skip(2))
      case 'q':
        return this.#bytes.readUInt16LE(this.#skip(2))
      case 'b':
        return this.#bytes.readUInt32LE(this.#skip(4)) !== 0
      case 'i':
        return this.#bytes.readInt32LE(this.#skip(4))
      case 'u':
        return this.#bytes.readUInt32LE(this.#skip(4))
      case 'x':
        return this.#bytes.readBigInt64LE(this.#skip(8))
      case 't':
        return this.#bytes.readBigUInt64LE(this.#skip(8))
      case 'd':
        return this.#bytes.readDoubleLE(this.#skip(8))
      case 's':
      case 'o':
        return this.#text(this.#bytes.readUInt32LE(this.#skip(4)))
      case 'g':
        return this.#text(this.#bytes.readUInt8(this.#skip(1)))
      case 'v': {
        const signature = this.#text(this.#bytes.readUInt8(this.#skip(1)))
        return { signature, value: this.read(signature) }
      }
      case 'a':
        return this.#array(type.slice(1))
      default:
        return splitSignature(type.slice(1, -1)).map(each => this.read(each))
    }
  }

  #skip(count: number): number {
    const at = this.#at
    this.#at += count
    return at
  }

  #text(length: number): string {
    const at = this.#skip(length + 1)
    if (this.#at > this.#bytes.length) throw malformed('text')
    return this.#bytes.toString('utf8', at, at + length)
  }

  #array(element: string): unknown {
    const length = this.#bytes.readUInt32LE(this.#skip(4))
    this.align(ALIGNMENT[element[0] ?? ''] ?? 1)
    const end = this.#at + length
    if (length > MAX_MESSAGE_BYTES || end > this.#bytes.length) throw malformed(`a${element}`)
    if (element === 'y') return new Uint8Array(this.#bytes.subarray(this.#skip(length), end))
    const values: unknown[] = []
    while (this.#at < end) values.push(this.read(element))
    return values
  }
}

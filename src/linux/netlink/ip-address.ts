/** IP addresses as bytes: 4 or 16, in network order. Source: RFC 4291 § 2.2 (text form), RFC 5952 (the one text to print). */

export const AF_UNSPEC = 0
export const AF_INET = 2
export const AF_INET6 = 10

const V4 = /^(?:0|[1-9]\d{0,2})(?:\.(?:0|[1-9]\d{0,2})){3}$/
const GROUP = /^[0-9a-fA-F]{1,4}$/

/** The bytes of an address in text form; undefined when it is none. Zone ids (`%eth0`) are not part of an address. */
export function parseIpAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseV6(text) : parseV4(text)
}

function parseV4(text: string): Uint8Array | undefined {
  if (!V4.test(text)) return undefined
  const numbers = text.split('.').map(Number)
  return numbers.every(number => number <= 255) ? Uint8Array.from(numbers) : undefined
}

function parseV6(text: string): Uint8Array | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const [head, tail] = halves.map(half => (half === '' ? [] : half.split(':')))
  if (head === undefined) return undefined
  const before = groupBytes(head, tail === undefined)
  const after = tail === undefined ? [] : groupBytes(tail, true)
  if (before === undefined || after === undefined) return undefined
  const missing = 16 - before.length - after.length
  // "::" stands for at least one group of zeros; without it all eight groups are there.
  if (tail === undefined ? missing !== 0 : missing < 2) return undefined
  return Uint8Array.from([...before, ...new Array<number>(missing).fill(0), ...after])
}

/** Bytes of colon-separated groups; the last of an address may be an IPv4 address. */
function groupBytes(groups: readonly string[], endsAddress: boolean): number[] | undefined {
  const result: number[] = []
  for (const [position, group] of groups.entries()) {
    const embedded = endsAddress && position === groups.length - 1 ? parseV4(group) : undefined
    if (embedded !== undefined) result.push(...embedded)
    else if (GROUP.test(group)) {
      const value = Number.parseInt(group, 16)
      result.push(value >>> 8, value & 0xff)
    } else return undefined
  }
  return result
}

/**
 * The canonical text of an address.
 * @throws {RangeError} unless there are 4 or 16 bytes
 */
export function formatIpAddress(address: Uint8Array): string {
  if (address.length === 4) return address.join('.')
  if (address.length !== 16) throw new RangeError(`IP address of ${address.length} bytes`)
  const groups = Array.from(
    { length: 8 },
    (_, index) => ((address[2 * index] ?? 0) << 8) | (address[2 * index + 1] ?? 0),
  )
  const { start, count } = longestZeros(groups)
  const hex = groups.map(group => group.toString(16))
  if (count < 2) return hex.join(':')
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + count).join(':')}`
}

/** The first longest run of zero groups (RFC 5952 § 4.2.3). */
function longestZeros(groups: readonly number[]): { start: number; count: number } {
  let best = { start: 0, count: 0 }
  let start = 0
  for (const [index, group] of groups.entries()) {
    if (group !== 0) start = index + 1
    else if (index + 1 - start > best.count) best = { start, count: index + 1 - start }
  }
  return best
}

/** AF_INET or AF_INET6 by the length of an address. */
export function familyOf(address: Uint8Array): number {
  return address.length === 4 ? AF_INET : AF_INET6
}

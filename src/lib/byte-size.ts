import { BerthError } from './error.ts'

const UNITS = 'kmgtp'
const SIZE = /^(\d+)(?:\.(\d+))? ?(?:([kmgtp])?(?:i?b)?)$/i

/**
 * Reads a size as docker and runc do: `512m`, `1.5G`, `64KiB`, `100`. Units are powers of 1024 however they are written; a fraction of
 * a byte is dropped.
 * @throws {BerthError} invalidArgument, naming `what`
 */
export function parseByteSize(text: string, what: string): bigint {
  const [, whole, fraction = '', unit = ''] = SIZE.exec(text.trim()) ?? []
  if (whole === undefined)
    throw new BerthError('invalidArgument', `Cannot use ${what} "${text}": no size, expected one such as 512m`)
  const factor = 1024n ** BigInt(unit === '' ? 0 : UNITS.indexOf(unit.toLowerCase()) + 1)
  const bytes = (BigInt(whole + fraction) * factor) / 10n ** BigInt(fraction.length)
  if (bytes >= 1n << 63n)
    throw new BerthError('invalidArgument', `Cannot use ${what} "${text}": expected less than 8 EiB`)
  return bytes
}

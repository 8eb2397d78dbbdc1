import { BerthError } from '../lib/error.ts'

const UNITS: Readonly<Record<string, bigint>> = {
  '': 1n,
  b: 1n,
  k: 1024n,
  m: 1024n ** 2n,
  g: 1024n ** 3n,
  t: 1024n ** 4n,
  p: 1024n ** 5n,
}
const SIZE = /^(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?$/i

/**
 * Bytes as docker's options take them: `64m`, `1.5g`, `512`; units are powers of 1024.
 * @throws {BerthError} invalidArgument
 */
export function parseSize(text: string): bigint {
  const [, number = '', unit = ''] = SIZE.exec(text) ?? []
  const factor = UNITS[unit.toLowerCase()]
  if (number === '' || factor === undefined)
    throw new BerthError(
      'invalidArgument',
      `Cannot parse size "${text}": expected a number with an optional unit b, k, m, g or t`,
    )
  return number.includes('.') ? BigInt(Math.floor(Number(number) * Number(factor))) : BigInt(number) * factor
}

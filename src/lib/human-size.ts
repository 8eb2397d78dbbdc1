const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB']
const DIGITS = 3

/** A size as docker writes it: three digits and a unit of a power of 1000, `1.98MB`. */
export function humanSize(bytes: number, digits = DIGITS): string {
  let [value, unit] = [bytes, 0]
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000
    unit++
  }
  // Rounding can reach the next power: 999.9 is 1e+03 in three digits, and Docker says so too.
  const rounded = Number(value.toPrecision(digits))
  return `${rounded >= 1000 ? rounded.toExponential().replace(/e\+(\d)$/, 'e+0$1') : rounded}${UNITS[unit]}`
}

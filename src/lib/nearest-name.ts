/** More slips than that make another word. */
const SLIPS_LIMIT = 2

/** The name that somebody who typed `typed` has most likely meant; null: none is near. A swap of neighbours is one slip. */
export function nearestName(typed: string, names: Iterable<string>): string | null {
  let nearest: string | null = null
  let fewest = Math.min(SLIPS_LIMIT, Math.floor(typed.length / 2)) + 1
  for (const name of names) {
    const slips = distance(typed, name)
    if (slips >= fewest) continue
    fewest = slips
    nearest = name
  }
  return nearest
}

/** Letters to change, add, leave out or swap: the optimal string alignment distance. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)]
  const at = (row: number, column: number): number => rows[row]?.[column] ?? 0
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    rows.push(row)
    for (let j = 1; j <= b.length; j++) {
      const changed = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swapped = isSwap ? at(i - 2, j - 2) + 1 : changed
      row.push(Math.min(changed, swapped, at(i - 1, j) + 1, at(i, j - 1) + 1))
    }
  }
  return at(a.length, b.length)
}

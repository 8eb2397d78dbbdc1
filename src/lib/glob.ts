import { BerthError } from './error.ts'

/**
 * Whether a whole text matches a shell pattern as Go's path.Match reads it: `*` and `?` do not match a slash, `[a-z]` and `[^a-z]`,
 * and a backslash before what stands for itself. Runs in the time of their product, whatever the pattern.
 * @throws {BerthError} invalidArgument: the pattern is malformed
 */
export function matchesGlob(text: string, pattern: string): boolean {
  const parts = readGlob(pattern)
  // Which parts may come next; a star may also be left behind.
  let next = new Set(closure(parts, [0]))
  for (const char of text) {
    const after: number[] = []
    for (const index of next) {
      const part = parts[index]
      if (part === undefined) continue
      if (part === 'star' ? char !== '/' : part(char)) after.push(part === 'star' ? index : index + 1)
    }
    next = new Set(closure(parts, after))
  }
  return next.has(parts.length)
}

type Part = 'star' | ((char: string) => boolean)

function* closure(parts: readonly Part[], indexes: readonly number[]): Generator<number> {
  for (const first of indexes) {
    let index = first
    yield index
    while (parts[index] === 'star') yield ++index
  }
}

function readGlob(pattern: string): readonly Part[] {
  const parts: Part[] = []
  const chars = [...pattern]
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at]
    if (char === '*') parts.push('star')
    else if (char === '?') parts.push(each => each !== '/')
    else if (char === '[') {
      const [part, end] = readClass(chars, at + 1, pattern)
      parts.push(part)
      at = end
    } else {
      const literal = char === '\\' ? chars[++at] : char
      if (literal === undefined) throw malformed(pattern)
      parts.push(each => each === literal)
    }
  }
  return parts
}

function readClass(chars: readonly string[], start: number, pattern: string): readonly [Part, end: number] {
  const isNegated = chars[start] === '^'
  const ranges: (readonly [low: string, high: string])[] = []
  let at = isNegated ? start + 1 : start
  const one = (): string => {
    const char = chars[at] === '\\' ? chars[++at] : chars[at]
    if (char === undefined) throw malformed(pattern)
    at++
    return char
  }
  do {
    const low = one()
    const isRange = chars[at] === '-'
    if (isRange) at++
    ranges.push([low, isRange ? one() : low])
    if (at >= chars.length) throw malformed(pattern)
  } while (chars[at] !== ']')
  const matches = (char: string): boolean => ranges.some(([low, high]) => char >= low && char <= high)
  return [char => char !== '/' && matches(char) !== isNegated, at]
}

function malformed(pattern: string): BerthError {
  return new BerthError('invalidArgument', `Cannot use pattern "${pattern}": it is malformed`)
}

/**
 * Versions of Debian packages, `[epoch:]upstream[-revision]`, and their order.
 * Source: deb-version(7) › Sorting algorithm.
 */

interface Parts {
  readonly epoch: number
  readonly upstream: string
  readonly revision: string
}

function partsOf(version: string): Parts {
  const colon = version.indexOf(':')
  const rest = version.slice(colon + 1)
  const dash = rest.lastIndexOf('-')
  return {
    epoch: colon < 0 ? 0 : Number(version.slice(0, colon)),
    upstream: dash < 0 ? rest : rest.slice(0, dash),
    revision: dash < 0 ? '' : rest.slice(dash + 1),
  }
}

/** Negative when `a` is the older, positive when it is the newer, 0 when they are the same version. */
export function compareDebVersions(a: string, b: string): number {
  const [left, right] = [partsOf(a), partsOf(b)]
  return (
    left.epoch - right.epoch || compareText(left.upstream, right.upstream) || compareText(left.revision, right.revision)
  )
}

/** By turns a stretch of no digits, character by character, and a number. */
function compareText(a: string, b: string): number {
  let [left, right] = [a, b]
  while (left !== '' || right !== '') {
    const [leftWord = '', rightWord = ''] = [/^\D*/.exec(left)?.[0], /^\D*/.exec(right)?.[0]]
    const words = compareWords(leftWord, rightWord)
    if (words !== 0) return words
    left = left.slice(leftWord.length)
    right = right.slice(rightWord.length)
    const [leftDigits = '', rightDigits = ''] = [/^\d*/.exec(left)?.[0], /^\d*/.exec(right)?.[0]]
    // No version has more digits in a row than a bigint compares at once; some have more than a number holds.
    const [leftNumber, rightNumber] = [BigInt(leftDigits), BigInt(rightDigits)]
    if (leftNumber !== rightNumber) return leftNumber < rightNumber ? -1 : 1
    left = left.slice(leftDigits.length)
    right = right.slice(rightDigits.length)
  }
  return 0
}

function compareWords(a: string, b: string): number {
  for (let at = 0; at < Math.max(a.length, b.length); at++) {
    const difference = weight(a[at]) - weight(b[at])
    if (difference !== 0) return difference
  }
  return 0
}

/** `~` sorts before the end, letters before everything else. */
function weight(character: string | undefined): number {
  if (character === undefined) return 0
  if (character === '~') return -1
  const code = character.charCodeAt(0)
  return /[A-Za-z]/.test(character) ? code : code + 256
}

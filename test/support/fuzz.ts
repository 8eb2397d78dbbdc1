/**
 * Fuzzing of parsers: documents that are right, with bytes changed. In the gate a fixed number of runs; with
 * `BERTH_FUZZ_SECONDS=600 bun test src/oci` each such test goes on for that long. A failure prints its seed.
 */
import fc from 'fast-check'

const SECONDS = Number(process.env['BERTH_FUZZ_SECONDS'] ?? 0)
/** More than any run has time for. */
const ENDLESS = 1_000_000_000
/** What a run may take beyond the time it was given: the last case, and shrinking. */
const GRACE_SECONDS = 60
const EDITS_MAX = 12

/** For fc.assert(): `count` runs, or as many as there is time for. */
export function fuzzRuns(count: number): fc.Parameters<unknown> {
  if (SECONDS === 0) return { numRuns: count }
  return { numRuns: ENDLESS, interruptAfterTimeLimit: SECONDS * 1000, markInterruptAsFailure: false }
}

/** The third argument of test() for a fuzz test. */
export const FUZZ_TIMEOUT_MS = (SECONDS + GRACE_SECONDS) * 1000

/** What an edit puts in: bytes that mean something to a parser of text, and some that no text has. */
const MEANINGFUL = [...Buffer.from('/:@._-[]{}",\\0aAfFzZ9\n\t '), 0x00, 0x7f, 0x80, 0xc3, 0xe2, 0xff]

interface Edit {
  readonly kind: 'replace' | 'insert' | 'remove' | 'double' | 'flip'
  /** Where, as a fraction of the length: lengths change from edit to edit. */
  readonly at: number
  readonly length: number
  readonly byte: number
}

const edit: fc.Arbitrary<Edit> = fc.record({
  kind: fc.constantFrom('replace', 'insert', 'remove', 'double', 'flip'),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 1, max: 4 }) }, fc.integer({ min: 1, max: 400 })),
  byte: fc.oneof(fc.constantFrom(...MEANINGFUL), fc.integer({ min: 0, max: 255 })),
})

/** One of the seeds with some bytes changed, left out, doubled or put in. */
export function mutationsOf(seeds: readonly (Uint8Array | string)[]): fc.Arbitrary<Uint8Array> {
  const bytes = seeds.map(seed => Buffer.from(seed))
  return fc
    .tuple(fc.constantFrom(...bytes), fc.array(edit, { minLength: 1, maxLength: EDITS_MAX }))
    .map(([seed, edits]) => edits.reduce<Uint8Array>(applyEdit, seed))
}

function applyEdit(bytes: Uint8Array, { kind, at, length, byte }: Edit): Uint8Array {
  const start = Math.floor(at * bytes.length)
  const before = bytes.subarray(0, start)
  const touched = bytes.subarray(start, start + length)
  const after = bytes.subarray(start + length)
  const replacement: Readonly<Record<Edit['kind'], () => readonly Uint8Array[]>> = {
    replace: () => [new Uint8Array(touched.length).fill(byte)],
    insert: () => [new Uint8Array(length).fill(byte), touched],
    remove: () => [],
    double: () => [touched, touched],
    flip: () => [touched.map(each => each ^ (1 << (byte & 7)))],
  }
  return Buffer.concat([before, ...replacement[kind](), after])
}

/** From verdicts by call number to a binary search over ranges of numbers. */
import { BPF, type BpfAssembler, type Label } from './bpf-assembler.ts'

/** `verdict` holds from `start` up to the next range's start. */
export interface VerdictRange<Verdict> {
  readonly start: number
  readonly verdict: Verdict
}

/** Ranges of call numbers, written one after another from 0 up; neighbours of equal verdict become one. */
export class VerdictRanges<Verdict> {
  readonly #ranges: VerdictRange<Verdict>[] = []
  #last: Verdict | undefined

  get ranges(): readonly VerdictRange<Verdict>[] {
    return this.#ranges
  }

  /** From `start`, which is greater than the last one given, `verdict` holds. Numbers are unsigned 32-bit. */
  from(start: number, verdict: Verdict): void {
    if (verdict === this.#last) return
    this.#last = verdict
    this.#ranges.push({ start, verdict })
  }
}

/** Writes the search for the accumulator among `ranges`, which start at 0; returns where it starts. */
export function compileSearch<Verdict>(
  assembler: BpfAssembler,
  ranges: readonly VerdictRange<Verdict>[],
  compileVerdict: (verdict: Verdict) => Label,
): Label {
  const search = (first: number, last: number): Label => {
    const middle = (first + last + 1) >> 1
    const range = ranges[middle]
    if (range === undefined) throw new RangeError(`no range ${middle} of ${ranges.length}`)
    if (first === last) return compileVerdict(range.verdict)
    const upper = search(middle, last)
    const lower = search(first, middle - 1)
    return assembler.jump(BPF.JGE_K, range.start, upper, lower)
  }
  return search(0, ranges.length - 1)
}

import type { BenchImage } from './bench-image.ts'
import { sampleTable, verdict } from './markdown.ts'
import { ratioOf, type Sample } from './measure.ts'
import type { TimedTurns } from './timed-turns.ts'

const MIB = 1024 * 1024

/** What an image is like, as the beginning of a sentence. */
export function imageFacts({ layers, entryCount, contentBytes }: BenchImage): string {
  const compressed = layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const count = layers.length === 1 ? '1 layer' : `${layers.length} layers`
  return `${count}, ${entryCount} entries, ${Math.round(contentBytes / MIB)} MiB in ${Math.round(compressed / MIB)} MiB of gzip`
}

/** The table of timed turns, with ratios to the contender of this name, and who could not take part. */
export function turnsTable({ samples, refusals }: TimedTurns, reference: string): string {
  const table = sampleTable(samples, named(samples, reference))
  return [table, ...refusals.map(refusal => `Not measured: ${refusal}`)].join('\n\n')
}

/** A row of the summary: one contender divided by another, none if one of them is missing. */
export function ratioRow(
  title: string,
  { samples }: TimedTurns,
  numerator: string,
  denominator: string,
  target: number,
): readonly string[] {
  const [above, below] = [named(samples, numerator), named(samples, denominator)]
  if (above === undefined || below === undefined) return []
  const { median } = ratioOf(above, below)
  return [`| ${title} | ${target} | ${median.toFixed(2)} | ${verdict(median, target)} |`]
}

function named(samples: readonly Sample[], name: string): Sample | undefined {
  return samples.find(sample => sample.name === name)
}

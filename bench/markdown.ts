import { ratioOf, type Sample, timesOf } from './measure.ts'
import { quantile } from './quantile.ts'

/** A table of a suite's samples: medians, spread, and the ratio to `reference`. */
export function sampleTable(samples: readonly Sample[], reference: Sample | undefined): string {
  const rows = samples.map(sample => {
    const times = timesOf(sample)
    const at = (part: number): string => quantile(times, part).toFixed(1)
    return `| ${sample.name} | **${at(0.5)}** | ${at(0.1)} – ${at(0.9)} | ${at(0)} | ${times.length} | ${ratioText(sample, reference)} |`
  })
  const name = reference === undefined ? 'ratio' : `÷ ${reference.name}`
  return [
    `| | median ms | 10 % – 90 % | fastest | runs | ${name} (quartiles over the rounds) |`,
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n')
}

function ratioText(sample: Sample, reference: Sample | undefined): string {
  if (reference === undefined || sample === reference) return '1'
  const { median, low, high } = ratioOf(sample, reference)
  return `**${median.toFixed(2)}** (${low.toFixed(2)} – ${high.toFixed(2)})`
}

/** Whether a target is met, in words. */
export function verdict(value: number, target: number): string {
  return value <= target ? 'met' : `missed by ${Math.round((value / target - 1) * 100)} %`
}

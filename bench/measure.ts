import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { quantile } from './quantile.ts'

/** One of several commands that are timed against each other. */
export interface Contender {
  readonly name: string
  /** As hyperfine splits it: words, with quotes; no shell. */
  readonly command: string
  /** Runs before each timed run, untimed. */
  readonly prepare?: string
}

/** The times of one contender, in milliseconds. */
export interface Sample {
  readonly name: string
  /** One list per round; a round is short, so that what else the machine does hits all contenders alike. */
  readonly rounds: readonly (readonly number[])[]
}

/** How long to measure: `rounds` turns of `runs` runs of each contender. */
export interface Effort {
  readonly rounds: number
  readonly runs: number
}

interface HyperfineExport {
  readonly results: readonly { readonly times: readonly number[] }[]
}

/**
 * Times commands with hyperfine, taking turns: each round starts with another one, so that none is always first.
 * @throws {Error} hyperfine failed, or one of the commands
 */
export function measure(contenders: readonly Contender[], effort: Effort, directory: string): readonly Sample[] {
  const rounds = contenders.map((): (readonly number[])[] => [])
  for (let round = 0; round < effort.rounds; round++) {
    const first = round % contenders.length
    const order = contenders.map((_, index) => (first + index) % contenders.length)
    const times = runHyperfine(
      order.flatMap(index => contenders[index] ?? []),
      effort.runs,
      join(directory, 'hyperfine.json'),
    )
    for (const [position, index] of order.entries()) rounds[index]?.push(times[position] ?? [])
  }
  return contenders.map(({ name }, index) => ({ name, rounds: rounds[index] ?? [] }))
}

const MS_PER_SECOND = 1000

function runHyperfine(
  contenders: readonly Contender[],
  runs: number,
  exported: string,
): readonly (readonly number[])[] {
  const prepares = contenders.some(({ prepare }) => prepare !== undefined)
    ? contenders.flatMap(({ prepare }) => ['--prepare', prepare ?? 'true'])
    : []
  const commands = contenders.map(({ command }) => command)
  const args = ['-N', '--warmup', '1', '--runs', String(runs), '--export-json', exported, ...prepares, ...commands]
  const { exitCode, stderr } = Bun.spawnSync(['hyperfine', ...args], { stdout: 'ignore', stderr: 'pipe' })
  if (exitCode !== 0) throw new Error(`Cannot measure ${commands.join(' | ')}: ${stderr.toString().trim()}`)
  const { results } = JSON.parse(readFileSync(exported, 'utf8')) as HyperfineExport
  rmSync(exported)
  return results.map(({ times }) => times.map(seconds => seconds * MS_PER_SECOND))
}

/** All times of a sample. */
export function timesOf({ rounds }: Sample): readonly number[] {
  return rounds.flat()
}

/** How a sample compares with another of the same run: the ratio of the medians, and its quartiles over the rounds. */
export interface Ratio {
  readonly median: number
  readonly low: number
  readonly high: number
}

/** `sample` divided by `reference`. */
export function ratioOf(sample: Sample, reference: Sample): Ratio {
  const perRound = sample.rounds.map(
    (times, round) => quantile(times, 0.5) / quantile(reference.rounds[round] ?? [], 0.5),
  )
  return {
    median: quantile(timesOf(sample), 0.5) / quantile(timesOf(reference), 0.5),
    low: quantile(perRound, 0.25),
    high: quantile(perRound, 0.75),
  }
}

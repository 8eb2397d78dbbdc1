import type { Sample } from './measure.ts'

/** One of several long commands that are timed against each other; all are text for bash, which stops at the first failure. */
export interface Turn {
  readonly name: string
  readonly command: string
  /** Runs before each timed run, untimed. */
  readonly prepare: string
}

/** How long to go on. */
export interface TurnLimits {
  readonly rounds: number
  /** When it is used up no further round begins; there is always one. */
  readonly budgetMs: number
  /** A single run that takes longer is ended, and its contender is out. */
  readonly runMs: number
}

/** What came of it. */
export interface TimedTurns {
  /** Of those who were in all rounds. */
  readonly samples: readonly Sample[]
  /** Who was not, and why. */
  readonly refusals: readonly string[]
}

/** Ends what a signal to this program finds under way: its children are in process groups of their own. */
const running = new Set<number>()

/**
 * Times commands that take seconds, each once per round, in another order in each round: see {@link orderOf}.
 * For what takes milliseconds see `measure()`.
 */
export async function timeTurns(turns: readonly Turn[], limits: TurnLimits): Promise<TimedTurns> {
  const deadline = performance.now() + limits.budgetMs
  const rounds = turns.map((): (readonly number[])[] => [])
  const refusals = new Map<number, string>()
  for (let round = 0; round < limits.rounds; round++) {
    const began = performance.now()
    for (const index of orderOf(round, turns.length)) {
      const turn = turns[index]
      if (turn === undefined || refusals.has(index)) continue
      try {
        rounds[index]?.push([await timeOnce(turn, limits.runMs)])
      } catch (error) {
        refusals.set(index, `${turn.name}: ${error instanceof Error ? error.message : error}`)
      }
    }
    // The next round takes about as long as this one.
    if (2 * performance.now() - began > deadline) break
  }
  const samples = turns.map(({ name }, index) => ({ name, rounds: rounds[index] ?? [] }))
  return { samples: samples.filter((_, index) => !refusals.has(index)), refusals: [...refusals.values()] }
}

/**
 * The contenders' order in a round. In as many rounds as there are contenders (twice as many if their number is odd) each follows each
 * other one equally often: what one leaves to the next, memory that the host has to give anew above all, is nobody's alone
 * (E. J. Williams, 1949).
 */
function orderOf(round: number, count: number): readonly number[] {
  const zigzag = Array.from({ length: count }, (_, position) =>
    position % 2 === 1 ? (position + 1) / 2 : (count - position / 2) % count,
  )
  const order = zigzag.map(index => (index + round) % count)
  return count % 2 === 1 && Math.floor(round / count) % 2 === 1 ? order.reverse() : order
}

/**
 * Touches memory and gives it back to the kernel. A virtual machine's host may have taken what was unused for some seconds; getting it back
 * doubled the system time of whoever came first to need it.
 */
const FETCH_MEMORY = 'dd if=/dev/zero of=/dev/null bs=1500M count=1 iflag=fullblock status=none'

async function timeOnce({ command, prepare }: Turn, limitMs: number): Promise<number> {
  await runScript(`${prepare}\n${FETCH_MEMORY}`, limitMs)
  const began = performance.now()
  await runScript(command, limitMs)
  return performance.now() - began
}

/** Runs text in bash. What it prints is dropped. @throws {Error} its status is not 0, or it takes too long; with its last line */
export async function runScript(script: string, limitMs: number): Promise<void> {
  const child = Bun.spawn(['bash', '-euo', 'pipefail', '-c', script], {
    stdio: ['ignore', 'ignore', 'pipe'],
    // A process group of its own, so that all of it can be ended.
    detached: true,
  })
  running.add(child.pid)
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    endGroup(child.pid)
  }, limitMs)
  try {
    const said = (await new Response(child.stderr).text()).trim()
    const status = await child.exited
    if (isLate) throw new Error(`ended after ${limitMs / 1000} s`)
    if (status !== 0) throw new Error(said.split('\n').at(-1) || `status ${status}`)
  } finally {
    clearTimeout(timer)
    running.delete(child.pid)
  }
}

/** Text for {@link runScript} that runs scripts at the same time and fails when one of them does. */
export function allAtOnce(scripts: readonly string[]): string {
  return [
    'pids=',
    ...scripts.map(script => `(${script}) & pids="$pids $!"`),
    'for pid in $pids; do wait $pid; done',
  ].join('\n')
}

/** Ends everything that is being timed. */
export function endTurns(): void {
  for (const pid of running) endGroup(pid)
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    // ESRCH: it has just ended.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

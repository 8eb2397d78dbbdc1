import { readFileSync } from 'node:fs'

const POLL_MS = 10

/** The most memory that processes had, in KiB (VmHWM of proc(5)). */
export interface PeakMemory {
  /** Of the command itself: what a daemon would need. */
  readonly engineKib: number
  /** Of the largest of the processes that it started. */
  readonly childKib: number
}

/** Runs a command to its end, looking at its processes all the time. @throws {Error} its status is not 0 */
export async function peakMemory(command: readonly string[]): Promise<PeakMemory> {
  const child = Bun.spawn([...command], { stdio: ['ignore', 'ignore', 'pipe'] })
  let [engineKib, childKib] = [0, 0]
  const said = new Response(child.stderr).text()
  while (child.exitCode === null && child.signalCode === null) {
    engineKib = Math.max(engineKib, peakOf(child.pid))
    childKib = Math.max(childKib, ...descendantsOf(child.pid).map(peakOf))
    await Bun.sleep(POLL_MS)
  }
  if (child.exitCode !== 0) throw new Error(`${command.join(' ')}: ${await said}`)
  return { engineKib, childKib }
}

/** 0 of a process that has ended. */
function peakOf(pid: number): number {
  return Number(/VmHWM:\s*(\d+) kB/.exec(readIfThere(`/proc/${pid}/status`))?.[1] ?? 0)
}

function descendantsOf(pid: number): readonly number[] {
  const children = readIfThere(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number)
  return children.flatMap(each => [each, ...descendantsOf(each)])
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    // ESRCH: it has ended between open and read.
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return ''
    throw error
  }
}

import { existsSync, rmdirSync } from 'node:fs'
import { BerthError } from '../../lib/error.ts'
import { childCgroups, errnoOf, isGone, readCgroupFile } from './cgroup-file.ts'

/** Processes in a cgroup and all cgroups below it, ascending. A threaded cgroup's are those of its threads. */
export function processesBelow(dir: string): readonly number[] {
  const found = new Set<number>()
  const visit = (cgroup: string): void => {
    const text = readCgroupFile(cgroup, 'cgroup.procs') ?? readCgroupFile(cgroup, 'cgroup.threads') ?? ''
    // 0 is a process of a PID namespace that ours does not show.
    for (const line of text.split('\n')) if (line !== '' && line !== '0') found.add(Number(line))
    for (const child of childCgroups(cgroup)) visit(`${cgroup}/${child}`)
  }
  visit(dir)
  return [...found].sort((a, b) => a - b)
}

/** Signals processes; those already gone are what was wanted. */
export function signalProcesses(pids: readonly number[], signal: number): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch (error) {
      if (errnoOf(error) !== 'ESRCH') {
        throw new BerthError('forbidden', `Cannot signal process "${pid}": ${errnoOf(error)}`, { cause: error })
      }
    }
  }
}

/**
 * Asks again and again, at first after 1 ms, then every `pauseMs` at most, until the answer is not null; throws what `late`
 * makes when the time is over. The files asked have no way to wait on them that Bun can use.
 */
export async function poll<T>(ask: () => T | null, timeoutMs: number, late: () => Error, pauseMs = 20): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (let pause = 1; ; pause = Math.min(pause * 2, pauseMs)) {
    const answer = ask()
    if (answer !== null) return answer
    if (performance.now() > deadline) throw late()
    await Bun.sleep(pause)
  }
}

/** How long a cgroup whose processes were killed may take until they have left it. */
const REMOVE_TIMEOUT_MS = 10_000

/**
 * Removes a cgroup and those below it, deepest first; one that is gone already is fine. Waits while processes that were killed
 * are still leaving.
 * @throws {BerthError} conflict, naming the processes that stay; forbidden without the right to
 */
export async function removeCgroup(dir: string, timeoutMs = REMOVE_TIMEOUT_MS): Promise<void> {
  await poll(
    () => (removeNow(dir) ? true : null),
    timeoutMs,
    () => {
      const left = processesBelow(dir).join(', ')
      return new BerthError('conflict', `Cannot remove cgroup "${dir}": in use by processes ${left}, expected none`)
    },
  )
}

function removeNow(dir: string): boolean {
  try {
    rmdirSync(dir)
    return true
  } catch (error) {
    // EROFS comes before anybody looks whether it is there; a cgroup that could not be made there need not be removed.
    if (isGone(error) || !existsSync(dir)) return true
    // EBUSY: processes or cgroups below. ENOTEMPTY never comes from cgroupfs, whose directories are never empty.
    if (errnoOf(error) !== 'EBUSY') {
      throw new BerthError('forbidden', `Cannot remove cgroup "${dir}": ${errnoOf(error)}`, { cause: error })
    }
  }
  return childCgroups(dir).every(child => removeNow(`${dir}/${child}`)) && removeLeaf(dir)
}

function removeLeaf(dir: string): boolean {
  try {
    rmdirSync(dir)
    return true
  } catch (error) {
    if (isGone(error)) return true
    if (errnoOf(error) === 'EBUSY') return false
    throw error
  }
}

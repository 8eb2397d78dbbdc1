import { processIdentity } from '../host/process-identity.ts'
import { BerthError } from '../lib/error.ts'
import { cgroupOf } from './container-cgroup.ts'
import { makesNew } from './container-input.ts'
import { expectStatus, type FoundContainer, findContainer } from './container-state.ts'
import type { RuntimeOptions } from './runtime-options.ts'

export const SIGKILL = 9

/** Whom to signal. */
export interface KillOptions extends RuntimeOptions {
  /** Signal every process of the container. */
  readonly all: boolean
}

/**
 * The `kill` of the runtime-spec: sends a signal to the container's process. SIGKILL to a container without a PID namespace of
 * its own goes to all of its processes, since the kernel would not end them with the first one.
 * @throws {BerthError} notFound; conflict: the container is stopped
 */
export async function killContainer(id: string, signal: number, options: KillOptions): Promise<void> {
  const found = findContainer(options.root, id)
  if (options.all) {
    await cgroupOf(found.record).kill(signal)
    return
  }
  if (found.status === 'stopped')
    throw new BerthError('conflict', `Cannot kill container "${id}": container not running`)
  await signalContainer(found, signal)
}

/** Sends a signal to a container's process, or to all of them where killing the first would leave the others. */
export async function signalContainer(found: FoundContainer, signal: number): Promise<void> {
  const { record, directory } = found
  if (signal === SIGKILL && !makesNew(directory.spec(), 'pid')) {
    await cgroupOf(record).kill(signal)
    return
  }
  // The identity is read again as late as possible: the number may belong to another process by now.
  if (processIdentity(record.process.pid)?.startTicks !== record.process.startTicks) return
  try {
    process.kill(record.process.pid, signal)
  } catch (error) {
    // ESRCH: it ended in between, which is what a signal may lead to anyway.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
  // A paused container would take the signal only when it is resumed, and nobody waits for that after SIGKILL.
  if (signal === SIGKILL && found.status === 'paused') await cgroupOf(record).thaw()
}

/** Stops all processes of a container and keeps them so. */
export async function pauseContainer(id: string, options: RuntimeOptions): Promise<void> {
  const found = findContainer(options.root, id)
  expectStatus(found, 'pause', 'running', 'created')
  await cgroupOf(found.record).freeze()
}

/** Lets a paused container go on. */
export async function resumeContainer(id: string, options: RuntimeOptions): Promise<void> {
  const found = findContainer(options.root, id)
  expectStatus(found, 'resume', 'paused')
  await cgroupOf(found.record).thaw()
}

import { BerthError } from '../lib/error.ts'
import { cgroupOf } from './container-cgroup.ts'
import { type FoundContainer, statusOf } from './container-state.ts'
import { endProcess } from './end-process.ts'
import { SIGKILL, signalContainer } from './kill.ts'
import { removeLeftover } from './leftover.ts'
import { returnNetDevices } from './return-net-devices.ts'
import { runPoststopHooks } from './run-hooks.ts'
import type { RuntimeOptions } from './runtime-options.ts'
import { stateDocument } from './state.ts'
import { StateDirectory } from './state-directory.ts'

/** How to delete. */
export interface DeleteOptions extends RuntimeOptions {
  /** Kill it first when it runs, and be content when it does not exist. */
  readonly force: boolean
}

/**
 * The `delete` of the runtime-spec: removes what `create` made, then runs the poststop hooks. A created container is killed, a
 * running one only with `force`.
 * @throws {BerthError} notFound; conflict: it runs
 */
export async function deleteContainer(id: string, options: DeleteOptions): Promise<void> {
  const directory = new StateDirectory(options.root, id)
  const existed = directory.exists()
  const found = findWhole(directory)
  if (found === null) {
    await removeLeftover(directory)
    if (options.force || existed) return
    throw new BerthError('notFound', `Cannot delete container "${id}": container does not exist`)
  }
  if (found.status === 'running' || found.status === 'paused' || found.status === 'creating') {
    if (!options.force)
      throw new BerthError(
        'conflict',
        `Cannot delete container "${id}": it is ${found.status}, expected stopped or --force`,
      )
  }
  if (found.status !== 'stopped') await endProcess(found.record.process, () => signalContainer(found, SIGKILL))
  await destroyContainer(found, options)
}

/**
 * The container; null where there is none, or only what a creator left that died half-way. Its launcher may be taking that away at
 * this moment, so that a file that was there a moment ago may be gone.
 */
function findWhole(directory: StateDirectory): FoundContainer | null {
  if (directory.isLeftover()) return null
  const record = directory.record()
  if (record === null && directory.isBeingCreated())
    throw new BerthError('unavailable', `Cannot delete container "${directory.id}": it is being created`)
  if (record === null || !directory.hasSpec()) return null
  return { directory, record, status: statusOf(directory, record) }
}

/** Removes a container whose process has ended: cgroup, network devices, state, then the poststop hooks. */
export async function destroyContainer(found: FoundContainer, options: RuntimeOptions): Promise<void> {
  const { directory, record } = found
  const cgroup = cgroupOf(record)
  // Processes that share the host's PID namespace, or that an exec left, outlive the first one.
  await cgroup.kill(SIGKILL)
  if (cgroup.freezerState() !== 'thawed') await cgroup.thaw()
  for (const warning of await returnNetDevices(directory.path, record.netDevices)) options.warn(warning)
  await cgroup.remove()
  const state = stateDocument({ ...found, status: 'stopped' })
  await runPoststopHooks(directory.spec().hooks?.poststop, state, options.warn)
  directory.remove()
}

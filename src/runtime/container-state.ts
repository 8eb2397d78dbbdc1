import { sameProcess } from '../host/process-identity.ts'
import { BerthError } from '../lib/error.ts'
import { cgroupOf } from './container-cgroup.ts'
import { type ContainerRecord, StateDirectory } from './state-directory.ts'

/** The spec's states and runc's `paused`. Source: runtime-spec › State. */
export type ContainerStatus = 'creating' | 'created' | 'running' | 'paused' | 'stopped'

/** A container found again, with its status at this moment. */
export interface FoundContainer {
  readonly directory: StateDirectory
  readonly record: ContainerRecord
  readonly status: ContainerStatus
}

/**
 * Finds a container by its id.
 * @throws {BerthError} notFound; unavailable while it is being created
 */
export function findContainer(root: string, id: string): FoundContainer {
  const directory = new StateDirectory(root, id)
  const record = directory.record()
  if (record === null) {
    if (directory.isBeingCreated())
      throw new BerthError('unavailable', `Cannot use container "${id}": it is being created`)
    throw new BerthError('notFound', `Cannot find container "${id}": container does not exist`)
  }
  return { directory, record, status: statusOf(directory, record) }
}

/** The status of a container whose process exists or existed. */
export function statusOf(directory: StateDirectory, record: ContainerRecord): ContainerStatus {
  if (!sameProcess(record.process)) return 'stopped'
  if (directory.isBeingCreated()) return 'creating'
  if (directory.waitsForStart()) return 'created'
  return cgroupOf(record).freezerState() === 'thawed' ? 'running' : 'paused'
}

/** Refuses a command that makes no sense in the container's state. */
export function expectStatus(found: FoundContainer, verb: string, ...allowed: readonly ContainerStatus[]): void {
  if (allowed.includes(found.status)) return
  throw new BerthError(
    'conflict',
    `Cannot ${verb} container "${found.directory.id}": it is ${found.status}, expected ${allowed.join(' or ')}`,
  )
}

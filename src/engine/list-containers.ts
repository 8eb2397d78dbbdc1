import { BerthError } from '../lib/error.ts'
import { type ContainerStatus, statusOf } from '../runtime/container-state.ts'
import { deleteContainer } from '../runtime/delete.ts'
import { StateDirectory } from '../runtime/state-directory.ts'
import { containerDirectory, type Engine } from './open-engine.ts'
import { removeContainerDirectory } from './prepare-container.ts'
import type { ContainerRow } from './state-database.ts'

/** A container and what it does at this moment. */
export interface ListedContainer extends ContainerRow {
  readonly status: ContainerStatus
}

/** All containers, the newest first. */
export function listContainers(engine: Engine): readonly ListedContainer[] {
  return engine.database
    .list()
    .map(row => ({ ...row, status: statusOfRow(row, engine) }))
    .toReversed()
}

function statusOfRow(row: ContainerRow, { roots }: Engine): ContainerStatus {
  if (row.exitCode !== null) return 'stopped'
  const directory = new StateDirectory(roots.run, row.id)
  const record = directory.record()
  return record === null ? 'creating' : statusOf(directory, record)
}

/**
 * Removes a container with all that is its own: process, cgroup, layer, log.
 * @param text its name, its id, or a beginning of its id that no other has
 * @throws {BerthError} notFound; invalidArgument: more than one begins so; conflict: it runs and `force` is not given
 */
export async function removeContainer(text: string, force: boolean, engine: Engine): Promise<void> {
  const row = findContainerRow(text, engine)
  if (row.status !== 'stopped' && !force)
    throw new BerthError(
      'conflict',
      `Cannot remove container "${text}": it is ${row.status}, expected stopped or --force`,
    )
  await deleteContainer(row.id, { root: engine.roots.run, systemdCgroup: false, warn: engine.warn, force: true })
  await removeContainerDirectory(containerDirectory(engine.roots, row.id), engine.snapshots)
  const { removeRow } = await import('./release-content.ts')
  await removeRow(row, engine)
}

/**
 * The container that a user means.
 * @param text its name, its id, or a beginning of its id that no other has
 * @throws {BerthError} notFound; invalidArgument: more than one begins so
 */
export function findContainerRow(text: string, engine: Engine): ListedContainer {
  const rows = listContainers(engine)
  const exact = rows.find(({ name, id }) => name === text || id === text)
  if (exact !== undefined) return exact
  const [first, second] = /^[0-9a-f]+$/.test(text) ? rows.filter(({ id }) => id.startsWith(text)) : []
  if (first === undefined) throw new BerthError('notFound', `Cannot find container "${text}": no such container`)
  if (second !== undefined)
    throw new BerthError('invalidArgument', `Cannot find container "${text}": more than one id begins so`)
  return first
}

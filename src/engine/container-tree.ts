import { join } from 'node:path'
import { BerthError } from '../lib/error.ts'
import { StateDirectory } from '../runtime/state-directory.ts'
import { RANGE_SIZE } from '../security/id-ranges.ts'
import type { TreeRoot } from '../snapshot/pack-plan.ts'
import type { ContainerLayers } from '../snapshot/tree-changes.ts'
import { GENERATED_FILES } from './compose-spec-mounts.ts'
import { findContainerRow, type ListedContainer } from './list-containers.ts'
import { type RootConfig, readRootRecord } from './root-record.ts'
import { isRootless } from './rootless.ts'
import { containerDirectory, type Engine } from './run-container.ts'

/** What every container has, made by the runtime where its image has not. */
const MOUNT_POINTS = ['/dev', '/proc', '/sys', ...GENERATED_FILES.map(name => `/etc/${name}`)].map(path => ({
  kind: 'mount' as const,
  path,
  mode: 0,
}))

/** The filesystem of a container, to be read. */
export interface ContainerTree {
  readonly container: ListedContainer
  /** Its own changes, and what they are changes of. */
  readonly layers: ContainerLayers
  /** All that it sees, its mounts apart. */
  readonly root: TreeRoot
  readonly config: RootConfig
}

/**
 * Finds the filesystem of a container, running or not.
 * @param text its name, its id, or a beginning of its id
 * @throws {BerthError} notFound; conflict: it is still being made; notImplemented: it was made without privileges on the host
 */
export function findContainerTree(text: string, engine: Engine): ContainerTree {
  const container = findContainerRow(text, engine)
  if (container.status === 'creating')
    throw new BerthError('conflict', `Cannot read container "${text}": it is being created`)
  const directory = containerDirectory(engine.roots, container.id)
  const { lowers, veil, config } = readRootRecord(directory)
  // Its files belong to ids that only a user namespace of his gets at, and a patchwork is no overlay that could be read as one.
  if (lowers === null || isRootless())
    throw new BerthError(
      'notImplemented',
      `Cannot read container "${text}": it was made without privileges on the host, expected root`,
    )
  const { rangeStart } = container
  const ids = rangeStart === null ? null : { start: rangeStart, size: RANGE_SIZE }
  const upper = join(directory, 'upper')
  const layers = { upper, lowers, ids, veil: [...veil, ...MOUNT_POINTS] }
  return { container, layers, root: rootOf(container, layers, join(directory, 'work'), engine), config }
}

/** The overlay of a container that runs is read as it is mounted: a second one over the same directories would not be told of changes. */
function rootOf(
  { id, status }: ListedContainer,
  { upper, lowers, ids }: ContainerLayers,
  work: string,
  { roots }: Engine,
): TreeRoot {
  const record = status === 'stopped' ? null : new StateDirectory(roots.run, id).record()
  return record === null ? { kind: 'overlay', lowers, upper, work, ids } : { kind: 'process', pid: record.process.pid }
}

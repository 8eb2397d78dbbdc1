import { join } from 'node:path'
import { BerthError } from '../lib/error.ts'
import { StateDirectory } from '../runtime/state-directory.ts'
import { RANGE_SIZE } from '../security/id-ranges.ts'
import type { TreeRoot } from '../snapshot/pack-plan.ts'
import type { SnapshotRoot } from '../snapshot/root-source.ts'
import type { RootIds } from '../snapshot/snapshot-driver.ts'
import type { ContainerLayers } from '../snapshot/tree-changes.ts'
import { GENERATED_FILES } from './compose-spec-mounts.ts'
import { findContainerRow, type ListedContainer } from './list-containers.ts'
import { containerDirectory, type Engine } from './open-engine.ts'
import { type RootConfig, readRootRecord } from './root-record.ts'
import { isRootless } from './rootless.ts'

/** What every container has, made by the runtime where its image has not. */
const MOUNT_POINTS = ['/dev', '/proc', '/sys', ...GENERATED_FILES.map(name => `/etc/${name}`)].map(path => ({
  kind: 'mount' as const,
  path,
  mode: 0,
}))

/** The filesystem of a container, to be read. */
export interface ContainerTree {
  readonly container: ListedContainer
  /** Its own changes, and what they are changes of. Dispose them when they were read. */
  readonly changes: () => Promise<ContainerLayers & AsyncDisposable>
  /** All that it sees, its mounts apart. */
  readonly root: TreeRoot
  /** The host ids of the files in `root`; null: they have those of the image. */
  readonly rootIds: RootIds | null
  readonly hasFuseMarks: boolean
  /** Its changes are changes of the machine's own root filesystem, those included that it began with. */
  readonly isHost: boolean
  readonly config: RootConfig
}

/**
 * Finds the filesystem of a container, running or not.
 * @param text its name, its id, or a beginning of its id
 * @throws {BerthError} notFound; conflict: it is still being made; notImplemented: it was made without privileges on the host
 */
export async function findContainerTree(text: string, engine: Engine): Promise<ContainerTree> {
  const container = findContainerRow(text, engine)
  if (container.status === 'creating')
    throw new BerthError('conflict', `Cannot read container "${text}": it is being created`)
  const directory = containerDirectory(engine.roots, container.id)
  const { lowers, veil, isHost, seed, config } = readRootRecord(directory)
  // Its files belong to ids that only a user namespace of his gets at, and a patchwork is no overlay that could be read as one.
  if (lowers === null || isRootless())
    throw new BerthError(
      'notImplemented',
      `Cannot read container "${text}": it was made without privileges on the host, expected root`,
    )
  const { rangeStart } = container
  const ids = rangeStart === null ? null : { start: rangeStart, size: RANGE_SIZE }
  const driver = await engine.snapshots()
  const changes = async (): Promise<ContainerLayers & AsyncDisposable> => {
    const found = await driver.changesOf(directory, { lowers }, ids)
    return {
      upper: found.path,
      lowers,
      ids: found.ids,
      veil: [...veil, ...MOUNT_POINTS],
      hasFuseMarks: found.hasFuseMarks === true,
      ...(seed !== null && { seed }),
      [Symbol.asyncDispose]: () => found[Symbol.asyncDispose](),
    }
  }
  const stopped = rootOf(driver.describe(directory, { lowers }, ids), directory, lowers, ids)
  // What runs is read as it is mounted: a second overlay over the same directories would not be told of changes.
  const record = container.status === 'stopped' ? null : new StateDirectory(engine.roots.run, container.id).record()
  const root = record === null ? stopped : { root: { kind: 'process', pid: record.process.pid } as const, rootIds: ids }
  return { container, changes, config, isHost, hasFuseMarks: driver.name === 'fuse-overlayfs', ...root }
}

/** The root of a container that does not run. */
function rootOf(
  described: SnapshotRoot,
  directory: string,
  lowers: readonly string[],
  ids: RootIds | null,
): Pick<ContainerTree, 'root' | 'rootIds'> {
  switch (described.kind) {
    case 'overlay':
    case 'served':
      // The directories of a served root are those of an overlay.
      return {
        root: { kind: 'overlay', lowers, upper: join(directory, 'upper'), work: join(directory, 'work'), ids },
        rootIds: ids,
      }
    case 'directory':
      return { root: described, rootIds: ids }
    case 'idmapped':
      return { root: { kind: 'directory', path: described.path }, rootIds: null }
  }
}

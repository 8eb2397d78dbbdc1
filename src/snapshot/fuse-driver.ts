import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../lib/error.ts'
import { endFuseServer, FUSE_MOUNTS, FUSE_NAMESPACE, fuseProgram, startFuseServer } from './fuse-server.ts'
import { makeUpper, removeUpper, upperChanges } from './overlay-driver.ts'
import type { SnapshotRoot } from './root-source.ts'
import {
  type ChainSnapshot,
  type LayerStack,
  type RootIds,
  refuseHost,
  type SnapshotChanges,
  type SnapshotDriver,
  type SnapshotUsage,
} from './snapshot-driver.ts'
import { treeUsage } from './tree-usage.ts'

/**
 * overlayfs as a program: for kernels and filesystems on which overlayfs itself falls short. Directories and their content are those of the
 * overlay driver. The server of each container lives as long as the container's mounts do.
 */
export class FuseDriver implements SnapshotDriver {
  readonly name = 'fuse-overlayfs'

  describe(directory: string, stack: LayerStack): SnapshotRoot {
    refuseHost(stack, this.name)
    return {
      kind: 'served',
      namespace: join(directory, FUSE_NAMESPACE),
      path: join(directory, FUSE_MOUNTS, 'root'),
    }
  }

  create(directory: string, stack: LayerStack, ids: RootIds | null): Promise<void> {
    refuseHost(stack, this.name)
    makeUpper(directory, ids)
    return Promise.resolve()
  }

  async activate(directory: string, { lowers }: LayerStack, ids: RootIds | null): Promise<void> {
    await startFuseServer({ directory, lowers, ids })
  }

  async remove(directory: string): Promise<void> {
    await endFuseServer(directory)
    await removeUpper(directory)
  }

  async usageOf(directory: string): Promise<SnapshotUsage> {
    return await treeUsage(join(directory, 'upper'), { extents: false })
  }

  changesOf(directory: string, _: LayerStack, ids: RootIds | null): Promise<SnapshotChanges & AsyncDisposable> {
    return Promise.resolve({ ...upperChanges(directory, ids), hasFuseMarks: true })
  }

  chains(): Promise<readonly ChainSnapshot[]> {
    return Promise.resolve([])
  }

  sweep(): Promise<void> {
    return Promise.resolve()
  }
}

/** Why fuse-overlayfs can't be used here, null when it can. */
export function fuseProblem(): string | null {
  try {
    fuseProgram()
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
    return null
  } catch (error) {
    return messageOf(error)
  }
}

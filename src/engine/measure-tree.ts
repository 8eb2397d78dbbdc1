import { StepError } from '../plan/step-error.ts'
import type { SnapshotUsage } from '../snapshot/snapshot-driver.ts'
import { treeUsage } from '../snapshot/tree-usage.ts'
import { isRootless } from './rootless.ts'

/**
 * What a tree of a container takes of the disk. Of one that the user who runs Berth may not look into, since it belongs to ids of
 * the container, nothing is known: that is a warning, and it counts as nothing.
 */
export async function measureTree(path: string, warn: (message: string) => void): Promise<SnapshotUsage> {
  try {
    return await treeUsage(path, { extents: true })
  } catch (error) {
    if (!(error instanceof StepError && error.errno === 'EACCES' && isRootless())) throw error
    warn(`what "${path}" takes of the disk is not known: files of the container are out of the user's reach`)
    return { fileCount: 0, uniqueBytes: 0, sharedBytes: 0 }
  }
}

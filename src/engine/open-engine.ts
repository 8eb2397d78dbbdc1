import { join } from 'node:path'
import { openDriver } from '../snapshot/open-driver.ts'
import type { SnapshotDriver } from '../snapshot/snapshot-driver.ts'
import { type EngineRoots, engineRoots, type GivenRoots } from './data-root.ts'
import type { KeepFree } from './disk-space.ts'
import type { ImageEngine } from './image-engine.ts'
import { isRootless } from './rootless.ts'
import { StateDatabase } from './state-database.ts'

/** What the engine works with. */
export interface Engine {
  readonly roots: EngineRoots
  readonly database: StateDatabase
  readonly warn: (message: string) => void
  /** How root filesystems are made; chosen, and written down, when it is asked for the first time. */
  readonly snapshots: () => Promise<SnapshotDriver>
  /** What is to stay free on the filesystem of the data root. */
  readonly keepFree: KeepFree
  readonly showPull?: NonNullable<ImageEngine['showPull']>
  /** Ends what makes a container wait: a pull. */
  readonly signal?: AbortSignal
}

/** Opens the engine of the user who calls; by default in the usual places. */
export function openEngine(given: GivenRoots, warn: (message: string) => void): Engine {
  const roots = engineRoots(given)
  let driver: Promise<SnapshotDriver> | null = null
  const snapshots = (): Promise<SnapshotDriver> => {
    driver ??= openDriver(roots.data, { asked: given.storageDriver ?? null, isRootless: isRootless() })
    return driver
  }
  const { keepFree = 'default' } = given
  return { roots, database: new StateDatabase(roots.data), warn, snapshots, keepFree }
}

/** Where a container's own files are. */
export function containerDirectory(roots: EngineRoots, id: string): string {
  return join(roots.data, 'containers', id)
}

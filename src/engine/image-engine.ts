import type { OnProgress } from '../image/progress.ts'
import type { SnapshotDriver } from '../snapshot/snapshot-driver.ts'
import type { EngineRoots } from './data-root.ts'
import type { KeepFree } from './disk-space.ts'
import type { StateDatabase } from './state-database.ts'

/** What opening an image takes of the engine. */
export interface ImageEngine {
  readonly roots: EngineRoots
  readonly database: StateDatabase
  readonly warn: (message: string) => void
  readonly snapshots: () => Promise<SnapshotDriver>
  /** What is to stay free on the filesystem of the data root. */
  readonly keepFree: KeepFree
  /** Called before an image is pulled because it is missing; what it returns is told of the progress, and disposed of when it has come or not. */
  readonly showPull?: (name: string) => Promise<PullShow>
  /** Ends a pull. */
  readonly signal?: AbortSignal
}

/** Who shows a pull. */
export interface PullShow extends Disposable {
  readonly onProgress: OnProgress
}

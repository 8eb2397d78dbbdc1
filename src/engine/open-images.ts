import { type ImageStore, openImageStore } from '../image/image-store.ts'
import type { GivenRoots } from './data-root.ts'
import { type Engine, openEngine } from './open-engine.ts'

/** The engine with its images. */
export interface EngineWithImages extends Engine {
  readonly images: ImageStore
}

/** Opens the engine of the user who calls with its image store. What killed processes left of images is removed. */
export async function openEngineWithImages(
  given: GivenRoots,
  warn: (message: string) => void,
): Promise<EngineWithImages> {
  const engine = openEngine(given, warn)
  return { ...engine, images: await openImageStore(engine.roots.data, engine.database.sqlite) }
}

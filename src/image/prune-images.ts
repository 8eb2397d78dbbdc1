import type { ImageTest } from './image-filter.ts'
import type { ImageRecord } from './image-record.ts'
import type { ImageStore } from './image-store.ts'
import { forgetUnused, type RemovedImage } from './remove-image.ts'

/** What to prune. */
export interface PruneOptions {
  /** Also those with a name, if no container was made of them. */
  readonly all: boolean
  readonly filter: ImageTest
  readonly signal?: AbortSignal
}

/** Removes images that nobody needs: those without a name, or all that no container uses. Pinned ones stay. */
export async function pruneImages(
  store: ImageStore,
  { all, filter, signal }: PruneOptions,
): Promise<readonly RemovedImage[]> {
  const removed: RemovedImage[] = []
  for (const image of store.records.list().filter(each => isPrunable(each, all, store) && filter(each))) {
    signal?.throwIfAborted()
    const gone = await forgetUnused(image, store, all)
    if (gone !== null) removed.push(gone)
  }
  return removed
}

/** Whether nobody needs an image; containers that are `gone` do not count. */
export function isPrunable(
  image: ImageRecord,
  all: boolean,
  { records }: Pick<ImageStore, 'records'>,
  gone: ReadonlySet<string> = new Set(),
): boolean {
  if (image.pinned || (image.names.length > 0 && !all)) return false
  return records.containersOf(image.digest).every(id => gone.has(id))
}

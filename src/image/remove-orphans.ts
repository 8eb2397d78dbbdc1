import type { Digest } from '../oci/digest.ts'
import type { StoredItem } from './content-usage.ts'
import type { ImageStore } from './image-store.ts'
import type { ContentKind } from './lease.ts'

/** While one transaction removes, nobody else can write: with large files on a slow disk that is felt. */
const BATCH = 16

/**
 * Removes content that nothing needs: of `items` what has no use at that very moment, whatever it was when they were looked for.
 * Safe beside everything else, in this process and in others; killed at any moment, it has removed a part.
 * @returns what is gone
 */
export async function removeOrphans(
  items: readonly StoredItem[],
  { content, layers, records }: Pick<ImageStore, 'content' | 'layers' | 'records'>,
  signal?: AbortSignal,
): Promise<readonly StoredItem[]> {
  const removed: StoredItem[] = []
  for (let at = 0; at < items.length; at += BATCH) {
    signal?.throwIfAborted()
    const batch = items.slice(at, at + BATCH)
    const gone = records.collect({ blob: digests(batch, 'blob'), layer: digests(batch, 'layer') }, garbage => {
      content.removeNow(garbage.blob)
      return new Set([...garbage.blob.map(blobKey), ...layers.condemnNow(garbage.layer).map(layerKey)])
    })
    removed.push(...batch.filter(({ kind, digest }) => gone.has(`${kind} ${digest}`)))
    await layers.removeCondemned()
  }
  return removed
}

function digests(items: readonly StoredItem[], kind: ContentKind): readonly Digest[] {
  return items.filter(item => item.kind === kind).map(({ digest }) => digest)
}

function blobKey(digest: Digest): string {
  return `blob ${digest}`
}

function layerKey(digest: Digest): string {
  return `layer ${digest}`
}

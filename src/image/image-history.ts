import type { ImageManifest } from './image-record.ts'
import { layerSize } from './image-size.ts'
import type { ImageStore } from './image-store.ts'
import { readManifestDocument } from './manifest-document.ts'

/** A step in which an image was made. */
export interface HistoryStep {
  /** Milliseconds since 1970; null: not known. */
  readonly createdMs: number | null
  readonly createdBy: string
  readonly comment: string
  readonly sizeBytes: number
}

/** How an image was made, the last step first. Layers that the config says nothing of are steps of their own. */
export async function imageHistory(
  manifest: ImageManifest,
  { content, layers }: Pick<ImageStore, 'content' | 'layers'>,
): Promise<readonly HistoryStep[]> {
  const { document } = await readManifestDocument(manifest, content)
  const sizes = await Promise.all(manifest.layers.map(layer => layerSize(layer, layers)))
  let next = 0
  const told = document.history.map(({ created, created_by, comment, empty_layer }): HistoryStep => {
    const sizeBytes = empty_layer === true ? 0 : (sizes[next++] ?? 0)
    return { createdMs: momentOf(created), createdBy: created_by ?? '', comment: comment ?? '', sizeBytes }
  })
  const untold = sizes.slice(next).map((sizeBytes): HistoryStep => {
    return { createdMs: manifest.createdMs, createdBy: '', comment: '', sizeBytes }
  })
  return [...told, ...untold].reverse()
}

function momentOf(created: string | undefined): number | null {
  const moment = created === undefined ? Number.NaN : Date.parse(created)
  return Number.isNaN(moment) ? null : moment
}

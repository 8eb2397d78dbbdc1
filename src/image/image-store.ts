import type { Database } from 'bun:sqlite'
import { ContentStore } from '../content/content-store.ts'
import { LayerStore } from '../snapshot/layer-store.ts'
import { ImageRecords } from './image-records.ts'
import { Transfers } from './transfers.ts'

/** Where images live: their blobs as they came, their layers unpacked, and what is known of them. */
export interface ImageStore {
  readonly content: ContentStore
  readonly layers: LayerStore
  readonly records: ImageRecords
  readonly transfers: Transfers
}

/**
 * Opens the image store below a data root (an absolute path) with its state.db, and makes it the first time. What killed processes
 * left is removed.
 */
export async function openImageStore(dataRoot: string, database: Database): Promise<ImageStore> {
  const [content, layers] = await Promise.all([ContentStore.open(dataRoot), LayerStore.open(dataRoot)])
  return { content, layers, records: new ImageRecords(database), transfers: new Transfers(database) }
}

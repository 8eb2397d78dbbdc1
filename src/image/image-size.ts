import type { LayerStore } from '../snapshot/layer-store.ts'
import type { ImageLayer, ImageManifest } from './image-record.ts'

/** What tells the size of a layer. */
export type LayerSizes = Pick<LayerStore, 'find'>

/** The size of a layer's content in bytes; of one that is not unpacked, that of its blob. */
export async function layerSize({ diffId, sizeBytes }: ImageLayer, layers: LayerSizes): Promise<number> {
  return (await layers.find(diffId))?.contentBytes ?? sizeBytes
}

/** The size of all layers of an image, those that it shares included. */
export async function imageSize({ layers }: Pick<ImageManifest, 'layers'>, store: LayerSizes): Promise<number> {
  const sizes = await Promise.all(layers.map(layer => layerSize(layer, store)))
  return sizes.reduce((sum, size) => sum + size, 0)
}

import { ImageRecords } from '../image/image-records.ts'
import { openImageStore } from '../image/image-store.ts'
import { parseDigest } from '../oci/digest.ts'
import type { Engine } from './open-engine.ts'
import type { ContainerRow } from './state-database.ts'

/**
 * Removes a container's row, and with it the content that the container was the last to need: that of an image which was removed before.
 * Layers from elsewhere stay for a while, as the next container of the same layout needs them again.
 */
export async function removeRow({ id, imageDigest }: ContainerRow, { roots, database }: Engine): Promise<void> {
  const records = new ImageRecords(database.sqlite)
  const isGone = imageDigest !== null && records.get(parseDigest(imageDigest)) === null
  const kept = isGone ? records.needs().filter(need => need.by === 'container' && need.id === id) : []
  database.remove(id)
  if (kept.length === 0) return
  const { content, layers } = await openImageStore(roots.data, database.sqlite)
  const digests = (kind: 'blob' | 'layer') => kept.filter(need => need.kind === kind).map(({ digest }) => digest)
  records.collect({ blob: digests('blob'), layer: digests('layer') }, garbage => {
    content.removeNow(garbage.blob)
    layers.condemnNow(garbage.layer)
  })
  await layers.removeCondemned()
}

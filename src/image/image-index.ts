import { BerthError } from '../lib/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { ImageRecords } from './image-records.ts'

/** The annotation with which a layout names an image. Source: image-spec › Annotations. */
export const REF_NAME = 'org.opencontainers.image.ref.name'

/** What takes the projection: the content store. */
export interface IndexTarget {
  writeIndex(manifests: readonly Descriptor[]): Promise<void>
}

/** So often may others change names while they are written down, one after the other. */
const ATTEMPTS = 50

/**
 * Writes the names of the images to the `index.json` of the content store, so that other tools can use it as an OCI layout: the name
 * of each is its whole reference. To be called after every change of names; nothing of ours reads it.
 */
export async function projectNames(store: {
  readonly content: IndexTarget
  readonly records: ImageRecords
}): Promise<void> {
  let wanted = descriptors(store.records)
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    await store.content.writeIndex(wanted)
    // Whoever writes later than another has also read later, or finds out here and writes again: so the last one to write is right.
    const now = descriptors(store.records)
    if (JSON.stringify(now) === JSON.stringify(wanted)) return
    wanted = now
  }
  throw new BerthError('unavailable', `Cannot write index.json: names of images changed ${ATTEMPTS} times meanwhile`)
}

function descriptors(records: ImageRecords): readonly Descriptor[] {
  const targets = new Map(records.list().map(record => [record.digest, record]))
  return records.names().flatMap(({ name, digest }) => {
    const target = targets.get(digest)
    if (target === undefined) return []
    const { mediaType, sizeBytes } = target
    return [{ mediaType, digest, sizeBytes, annotations: { [REF_NAME]: name } }]
  })
}

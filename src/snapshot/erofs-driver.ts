import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../lib/error.ts'
import { parseDigest } from '../oci/digest.ts'
import { ImageTarget } from './erofs/image-target.ts'
import { LAYER_IMAGE } from './layer-mount.ts'
import { makingName, removeTree } from './leftovers.ts'
import { OverlayDriver, overlayProblem } from './overlay-driver.ts'
import type { DriverName } from './snapshot-driver.ts'

/**
 * The overlay driver above layers that are EROFS images: one file each, which nothing can change and one unlink removes. Layers are the
 * store's: that they become images follows from this driver's being written down in the data root (see LayerStore). The runtime mounts an
 * image, idmapped and detached, for each container. Layers that are directories, such as the host's root, are taken as they are.
 */
export class ErofsDriver extends OverlayDriver {
  override readonly name: DriverName = 'erofs'
}

/** An image needs a name; nothing is in this one. */
const PROBE_DIFF_ID = parseDigest(`sha256:${'0'.repeat(64)}`)

/**
 * Why images can't be layers of an overlay below a data root (an absolute path that exists), null when they can: makes one there and
 * does with it what is done for a container.
 */
export async function erofsProblem(dataRoot: string): Promise<string | null> {
  const withoutImages = await overlayProblem(dataRoot)
  if (withoutImages !== null) return withoutImages
  const name = makingName()
  mkdirSync(join(dataRoot, name), { mode: 0o700 })
  try {
    const image = join(dataRoot, name, LAYER_IMAGE)
    {
      await using target = new ImageTarget(image, PROBE_DIFF_ID)
      await target.finish()
    }
    const problem = await overlayProblem(dataRoot, image)
    return problem === null ? null : `files can't be mounted as EROFS images, expected Linux 6.12 or newer (${problem})`
  } catch (error) {
    return messageOf(error)
  } finally {
    await removeTree(dataRoot, name)
  }
}

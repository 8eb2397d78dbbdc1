import { basename } from 'node:path'
import { MOUNT_ATTR_RDONLY } from '../linux/mount-flags.ts'
import { O_NOFOLLOW, O_PATH } from '../linux/open-flags.ts'
import type { Slot } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'

/** The name of a layer's image in its directory of the store. */
export const LAYER_IMAGE = 'layer.erofs'

/** Whether a layer, by its absolute path, is an EROFS image and not a directory. */
export function isLayerImage(path: string): boolean {
  return basename(path) === LAYER_IMAGE
}

/** Mounts the image of a layer, by its absolute path, detached: no table of mounts shows it, and it goes with the last who uses it. */
export function mountLayerImage(path: string, out: Slot): readonly Step[] {
  return [
    step('open', { path, flags: O_PATH | O_NOFOLLOW, mode: 0, out }, 'find the image of a layer'),
    step(
      'mount_image',
      { fstype: 'erofs', image: out, options: [], attrs: MOUNT_ATTR_RDONLY, out },
      'mount it where nobody sees it',
    ),
  ]
}

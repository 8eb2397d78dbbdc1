import { openHostImage } from '../image/host-image.ts'
import type { RunnableImage } from '../image/image.ts'
import { openRootfs } from '../image/rootfs-image.ts'
import type { ImageSource } from './container-options.ts'

/** Makes an image ready to run: whatever it takes to have its layers as directories. */
export async function openImage(
  source: ImageSource,
  dataRoot: string,
  warn: (message: string) => void,
): Promise<RunnableImage> {
  switch (source.kind) {
    case 'host':
      return openHostImage(dataRoot)
    case 'rootfs':
      return openRootfs(source.path)
    case 'layout': {
      const { openLayoutImage } = await import('../image/oci-layout-image.ts')
      return await openLayoutImage(source, dataRoot, { warn })
    }
  }
}

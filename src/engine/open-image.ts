import { foreignArchitectureProblem } from '../host/foreign-architecture.ts'
import { openHostImage } from '../image/host-image.ts'
import type { RunnableImage } from '../image/image.ts'
import { openRootfs } from '../image/rootfs-image.ts'
import { BerthError } from '../lib/error.ts'
import type { Digest } from '../oci/digest.ts'
import { readPolicyFile } from '../security/trust/trust-files.ts'
import type { ImageSource } from './container-options.ts'
import type { ImageEngine } from './image-engine.ts'

/** Makes an image ready to run: whatever it takes to have its layers as directories. */
export async function openImage(source: ImageSource, engine: ImageEngine): Promise<RunnableImage> {
  switch (source.kind) {
    case 'host':
      return openHostImage(engine.roots.data)
    case 'rootfs':
      return openRootfs(source.path)
    case 'layout': {
      const problem = source.platform === null ? null : foreignArchitectureProblem(source.platform.architecture)
      if (problem !== null) throw new BerthError('unavailable', `Cannot run an image of "${source.path}": ${problem}`)
      if (readPolicyFile(engine.roots.policy) !== null) {
        const { ImageTrust } = await import('./image-trust.ts')
        await ImageTrust.open(engine).checkLayout(source.path, source.tag)
      }
      const [{ openLayoutImage }, { ImageRecords }] = await Promise.all([
        import('../image/oci-layout-image.ts'),
        import('../image/image-records.ts'),
      ])
      const hold = (diffIds: readonly Digest[]): Disposable => {
        const lease = new ImageRecords(engine.database.sqlite).lease(`run ${source.path}`)
        lease.hold('layer', diffIds)
        return lease
      }
      const options = { warn: engine.warn, hold, ...(source.platform === null ? {} : { platform: source.platform }) }
      return await openLayoutImage(source, engine.roots.data, options)
    }
    case 'stored': {
      const { openReference } = await import('./open-reference.ts')
      return await openReference(source, engine)
    }
  }
}

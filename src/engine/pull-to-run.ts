import type { PulledImage } from '../image/pull-image.ts'
import type { Platform } from '../oci/platform.ts'
import { familiarReference, parseReference, withDefaultTag } from '../oci/reference.ts'
import type { ImageEngine } from './image-engine.ts'
import { ImageTransfers } from './transfer-images.ts'

/** Pulls an image that is to run now. @throws {BerthError} see {@link ImageTransfers.pull}; invalidArgument: `text` is no reference */
export async function pullToRun(text: string, platform: Platform | null, engine: ImageEngine): Promise<PulledImage> {
  const reference = withDefaultTag(parseReference(text))
  using transfers = await ImageTransfers.open(engine)
  using show = (await engine.showPull?.(familiarReference(reference))) ?? null
  return await transfers.pull(reference, {
    platform,
    warn: engine.warn,
    ...(show === null ? {} : { onProgress: show.onProgress }),
    ...(engine.signal === undefined ? {} : { signal: engine.signal }),
  })
}

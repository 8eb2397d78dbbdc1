/**
 * Unpacks all layers of an image layout below a data root, as `berth pull` does when the blobs are there:
 *     unpack-layers LAYOUT DATA-ROOT
 * A program of its own, compiled like `berth`, so that what is measured is what users run.
 */
import { OciLayout } from '../src/content/oci-layout.ts'
import { resolveManifest } from '../src/image/resolve-manifest.ts'
import { parseImageConfig } from '../src/oci/image-config.ts'
import { linuxPlatform } from '../src/oci/platform.ts'
import { LayerStore } from '../src/snapshot/layer-store.ts'
import { runLayerWorker } from '../src/snapshot/layer-worker.ts'
import { LAYER_WORKER_ARGUMENT } from '../src/snapshot/layer-worker-argument.ts'
import { UNPACK_CONCURRENCY } from '../src/snapshot/layer-workers.ts'

async function unpackAll(path: string, dataRoot: string): Promise<void> {
  await using layout = await OciLayout.open(path)
  const manifest = await resolveManifest(layout, 'bench', linuxPlatform(process.arch))
  const { diffIds } = parseImageConfig(await layout.readDocument(manifest.config), 'config')
  const store = await LayerStore.open(dataRoot)
  const queue = manifest.layers.entries()
  const work = async (): Promise<void> => {
    for (const [index, descriptor] of queue) {
      const diffId = diffIds[index]
      if (diffId === undefined) throw new Error(`no diffID ${index}`)
      await store.unpack(diffId, () => layout.read(descriptor))
    }
  }
  await Promise.all(Array.from({ length: UNPACK_CONCURRENCY }, work))
}

const [first = '', second = ''] = process.argv.slice(2)
if (first === LAYER_WORKER_ARGUMENT) process.exit(await runLayerWorker())
await unpackAll(first, second)
process.exit(0)

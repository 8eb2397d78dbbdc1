import { messageOf } from '../lib/error.ts'
import { LayerStore } from '../snapshot/layer-store.ts'
import type { Engine } from './open-engine.ts'

/**
 * Sees to it that the layers that have come some time ago survive a loss of power, see {@link LayerStore.keep}. To be called when the
 * user waits for nothing: while a container runs, or when all is done. That it fails is a warning: they can be unpacked again.
 */
export async function keepLayers({ roots, warn }: Pick<Engine, 'roots' | 'warn'>): Promise<void> {
  try {
    await LayerStore.existing(roots.data).keep()
  } catch (error) {
    warn(`layers could not be made safe from a loss of power: ${messageOf(error)}`)
  }
}

import { existsSync } from 'node:fs'
import { messageOf } from '../lib/error.ts'
import { unkeptMarker } from '../snapshot/unkept-layers.ts'
import type { Engine } from './open-engine.ts'

/**
 * Sees to it that the layers that have come some time ago survive a loss of power, see `LayerStore.keep()`. To be called when the user
 * waits for nothing: while a container runs. That it fails is a warning: they can be unpacked again.
 */
export async function keepLayers({ roots, warn }: Pick<Engine, 'roots' | 'warn'>): Promise<void> {
  if (!existsSync(unkeptMarker(roots.data))) return
  try {
    // Most containers start without it.
    const { LayerStore } = await import('../snapshot/layer-store.ts')
    await LayerStore.existing(roots.data).keep()
  } catch (error) {
    warn(`layers could not be made safe from a loss of power: ${messageOf(error)}`)
  }
}

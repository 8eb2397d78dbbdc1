import type { Layer } from '../snapshot/layer-store.ts'

/**
 * The directories of an image's layers, lowest first, as an overlay takes them: topmost first, down to a layer that hides all below it. Of
 * a layer that is there twice the upper one counts: it holds all that the lower one does, and overlayfs refuses a directory that is there twice.
 */
export function lowersOf(layers: readonly Layer[]): readonly string[] {
  const topmostFirst = layers.toReversed()
  const lastIndex = topmostFirst.findIndex(layer => layer.isOpaque)
  const seen = lastIndex < 0 ? topmostFirst : topmostFirst.slice(0, lastIndex + 1)
  return [...new Set(seen.map(layer => layer.path))]
}

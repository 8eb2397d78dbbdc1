import { join } from 'node:path'

/** The file below a data root that is there while layers may need `LayerStore.keep()`; its time is that of the last of them. */
export function unkeptMarker(dataRoot: string): string {
  return join(dataRoot, 'unkept-layers')
}

import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isLayerImage } from '../../src/snapshot/layer-mount.ts'
import { run } from '../image/tree.ts'

/** Looks at a layer as a directory; an image is mounted for that, by the machine's own mount. */
export function inLayer<T>(path: string, see: (root: string) => T): T {
  if (!isLayerImage(path)) return see(path)
  const root = mkdtempSync(join(tmpdir(), 'berth-layer-'))
  try {
    run('mount', '-t', 'erofs', '-o', 'ro,loop', path, root)
    try {
      return see(root)
    } finally {
      run('umount', root)
    }
  } finally {
    rmdirSync(root)
  }
}

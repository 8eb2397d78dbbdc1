import type { ByteWriter } from '../snapshot/block-gzip.ts'
import { type WrittenLayer, writeTree } from '../snapshot/write-layer.ts'
import { findContainerTree } from './container-tree.ts'
import type { Engine } from './open-engine.ts'

/**
 * Writes all that a container sees, what is mounted in it apart, as a tar archive.
 * @throws {BerthError} as findContainerTree; StepError: something can't be read
 */
export async function exportContainer(
  text: string,
  engine: Engine,
  write: ByteWriter,
  signal?: AbortSignal,
): Promise<WrittenLayer> {
  const { root, rootIds, hasFuseMarks } = await findContainerTree(text, engine)
  const options = {
    latestSeconds: null,
    compression: 'none',
    warn: engine.warn,
    hasFuseMarks,
    ...(signal && { signal }),
  } as const
  return await writeTree(root, rootIds, options, write)
}

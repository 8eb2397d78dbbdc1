import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { makingName, removeLeftovers, removeTree } from './leftovers.ts'
import { type ComparedTrees, extractChanges, MERGED_ROOT, mergeLayers } from './merge-layers.ts'
import type { SnapshotRoot } from './root-source.ts'
import {
  type ChainSnapshot,
  type LayerStack,
  type RootIds,
  refuseHost,
  type SnapshotChanges,
  type SnapshotDriver,
  type SnapshotUsage,
} from './snapshot-driver.ts'
import { treeUsage } from './tree-usage.ts'

const SNAPSHOT = 'snapshot'
/** Below the data root: what is made to be looked at for a moment. */
const TEMPORARY = 'snapshots'

/**
 * Copies: a root is all layers merged into one directory of the container's own. It takes nothing of the kernel or the filesystem; where
 * the filesystem has reflinks the copies share their content with the layers, elsewhere each root takes the disk and the time of its image.
 * Owners are shifted while copying, since where only this driver works, idmapped mounts usually don't.
 */
export class VfsDriver implements SnapshotDriver {
  readonly name = 'vfs'
  readonly #temporary: string

  constructor(dataRoot: string) {
    this.#temporary = join(dataRoot, TEMPORARY)
  }

  describe(directory: string, stack: LayerStack): SnapshotRoot {
    refuseHost(stack, this.name)
    return { kind: 'directory', path: join(directory, SNAPSHOT, MERGED_ROOT) }
  }

  async create(directory: string, stack: LayerStack, ids: RootIds | null, signal?: AbortSignal): Promise<void> {
    refuseHost(stack, this.name)
    await copyStack(join(directory, SNAPSHOT), stack, ids, signal)
  }

  activate(): Promise<void> {
    return Promise.resolve()
  }

  async remove(directory: string): Promise<void> {
    await removeTree(directory, SNAPSHOT)
  }

  async usageOf(directory: string): Promise<SnapshotUsage> {
    return await treeUsage(join(directory, SNAPSHOT), { extents: true })
  }

  async changesOf(
    directory: string,
    stack: LayerStack,
    ids: RootIds | null,
  ): Promise<SnapshotChanges & AsyncDisposable> {
    await using original = await temporaryTree(this.#temporary, stack)
    const after = join(directory, SNAPSHOT, MERGED_ROOT)
    return await temporaryChanges(this.#temporary, { before: original.path, after, ids })
  }

  chains(): Promise<readonly ChainSnapshot[]> {
    return Promise.resolve([])
  }

  async sweep(): Promise<void> {
    await mkdir(this.#temporary, { recursive: true, mode: 0o700 })
    await removeLeftovers(this.#temporary)
  }
}

/** Merges a stack into a directory that does not exist yet. */
async function copyStack(
  directory: string,
  { lowers }: LayerStack,
  ids: RootIds | null,
  signal?: AbortSignal,
): Promise<void> {
  await mkdir(join(directory, MERGED_ROOT), { recursive: true, mode: 0o755 })
  await mergeLayers(directory, lowers, ids, signal)
}

/** Something that is there for as long as it is looked at. */
type Temporary = { readonly path: string } & AsyncDisposable

/** A stack as one tree with the ids of the image. */
export async function temporaryTree(parent: string, { lowers }: LayerStack): Promise<Temporary> {
  return await temporary(parent, directory => mergeLayers(directory, lowers, null))
}

/** What one tree has changed of another, as an upper directory. */
export async function temporaryChanges(
  parent: string,
  trees: ComparedTrees,
): Promise<SnapshotChanges & AsyncDisposable> {
  return { ...(await temporary(parent, directory => extractChanges(directory, trees))), ids: trees.ids }
}

async function temporary(parent: string, fill: (directory: string) => Promise<void>): Promise<Temporary> {
  const name = makingName()
  const directory = join(parent, name)
  const remove = (): Promise<void> => removeTree(parent, name)
  await mkdir(join(directory, MERGED_ROOT), { recursive: true, mode: 0o755 })
  try {
    await fill(directory)
  } catch (error) {
    await remove()
    throw error
  }
  return { path: join(directory, MERGED_ROOT), [Symbol.asyncDispose]: remove }
}

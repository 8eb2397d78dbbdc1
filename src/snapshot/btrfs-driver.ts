import { mkdir, readdir, readFile, stat, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runSteps } from '../host/helper.ts'
import { EEXIST, ENOENT, ENOTTY } from '../lib/errno.ts'
import { invariant, messageOf } from '../lib/error.ts'
import { BTRFS_SUPER_MAGIC } from '../linux/fs-magic.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from '../linux/open-flags.ts'
import { chainIdOf } from '../oci/chain-id.ts'
import { type Digest, digestAlgorithm, digestHex, parseDigest } from '../oci/digest.ts'
import { type Slot, SlotTable } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'
import { leftoversIn, makingName } from './leftovers.ts'
import { MERGED_ROOT, mergeLayers } from './merge-layers.ts'
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
import { temporaryChanges, temporaryTree } from './vfs-driver.ts'

/** In a container's directory. */
const SNAPSHOT = 'snapshot'
/** In a chain snapshot: the diffIDs it was made from, lowest first. */
const DIFF_IDS = 'diff-ids'

/**
 * Subvolumes of btrfs: a root is a writable snapshot of its image's chain snapshot, made in no time.
 *
 *     <data root>/snapshots/<hex of the chainID>/root       a read-only subvolume, complete when it is there
 *     <data root>/snapshots/<hex of the chainID>/diff-ids
 *     <data root>/snapshots/.making-<pid>-…/                one in the making
 *     <container>/snapshot/root                             a writable subvolume
 *
 * A chain snapshot shares the content of its files with the layers (reflinks). It begins with the longest part of its chain that there
 * is a snapshot of. Files keep the ids of the image; the container sees them through an idmapped mount. No quotas are used.
 */
export class BtrfsDriver implements SnapshotDriver {
  readonly name = 'btrfs'
  readonly #layers: string
  readonly #chains: string

  constructor(dataRoot: string) {
    this.#layers = join(dataRoot, 'layers')
    this.#chains = join(dataRoot, 'snapshots')
  }

  describe(directory: string, stack: LayerStack, ids: RootIds | null): SnapshotRoot {
    refuseHost(stack, this.name)
    return { kind: ids === null ? 'directory' : 'idmapped', path: join(directory, SNAPSHOT, MERGED_ROOT) }
  }

  async create(directory: string, stack: LayerStack, _: RootIds | null, signal?: AbortSignal): Promise<void> {
    refuseHost(stack, this.name)
    const diffIds = this.#diffIdsOf(stack)
    if (diffIds === null) await makeSubvolume(directory, SNAPSHOT, stack.lowers, signal)
    else await snapshot(await this.#chain(diffIds, stack, signal), directory, SNAPSHOT, 'writable')
  }

  activate(): Promise<void> {
    return Promise.resolve()
  }

  async remove(directory: string): Promise<void> {
    await removeSubvolume(directory, SNAPSHOT)
  }

  async usageOf(directory: string): Promise<SnapshotUsage> {
    return await treeUsage(join(directory, SNAPSHOT), { extents: true })
  }

  async changesOf(directory: string, stack: LayerStack): Promise<SnapshotChanges & AsyncDisposable> {
    const diffIds = this.#diffIdsOf(stack)
    await using undo = new AsyncDisposableStack()
    const before =
      diffIds === null
        ? undo.use(await temporaryTree(this.#chains, stack)).path
        : join(await this.#chain(diffIds, stack), MERGED_ROOT)
    const after = join(directory, SNAPSHOT, MERGED_ROOT)
    return await temporaryChanges(this.#chains, { before, after, ids: null })
  }

  async chains(): Promise<readonly ChainSnapshot[]> {
    const names = (await entriesOf(this.#chains)).filter(name => /^[0-9a-f]+$/.test(name))
    const found = await Promise.all(names.map(name => readChain(join(this.#chains, name))))
    return found.filter(chain => chain !== null)
  }

  async sweep(): Promise<void> {
    await mkdir(this.#chains, { recursive: true, mode: 0o700 })
    for (const name of await leftoversIn(this.#chains)) await removeSubvolume(this.#chains, name)
    for (const { path, diffIds } of await this.chains()) {
      const layers = await Promise.all(diffIds.map(diffId => exists(this.#layerPath(diffId))))
      if (layers.includes(false)) await removeSubvolume(this.#chains, path.slice(this.#chains.length + 1))
    }
  }

  /** The path of the chain snapshot of these diffIDs (lowest first), made when missing. */
  async #chain(diffIds: readonly Digest[], { lowers }: LayerStack, signal?: AbortSignal): Promise<string> {
    const path = this.#chainPath(diffIds)
    if (await exists(path)) return path
    await mkdir(this.#chains, { recursive: true, mode: 0o700 })
    const name = makingName()
    try {
      const below = await this.#longestPart(diffIds)
      if (below > 0) await snapshot(this.#chainPath(diffIds.slice(0, below)), this.#chains, name, 'writable')
      await makeSubvolume(this.#chains, name, lowers.slice(0, lowers.length - below), signal)
      await writeFile(join(this.#chains, name, DIFF_IDS), `${diffIds.join('\n')}\n`)
      // It appears under its name complete and durable; when another process was first, that one's stays.
      await snapshot(join(this.#chains, name), this.#chains, path.slice(this.#chains.length + 1), 'readonly')
    } finally {
      await removeSubvolume(this.#chains, name)
    }
    return path
  }

  /** How many of the lowest layers there is a chain snapshot of. */
  async #longestPart(diffIds: readonly Digest[]): Promise<number> {
    for (let count = diffIds.length - 1; count > 0; count--)
      if (await exists(this.#chainPath(diffIds.slice(0, count)))) return count
    return 0
  }

  #chainPath(diffIds: readonly Digest[]): string {
    const chainId = chainIdOf(diffIds)
    invariant(chainId !== null, 'a chain has at least one layer')
    return join(this.#chains, digestHex(chainId))
  }

  #layerPath(diffId: Digest): string {
    return join(this.#layers, digestAlgorithm(diffId), digestHex(diffId))
  }

  /** The layers of the store that a stack consists of, lowest first; null when there are other directories in it, which may change. */
  #diffIdsOf({ lowers }: LayerStack): readonly Digest[] | null {
    const diffIds: Digest[] = []
    for (const lower of lowers.toReversed()) {
      const [, algorithm, hex] = /^\/(sha256|sha512)\/([0-9a-f]+)\/root$/.exec(lower.slice(this.#layers.length)) ?? []
      if (!lower.startsWith(this.#layers) || algorithm === undefined) return null
      diffIds.push(parseDigest(`${algorithm}:${hex}`))
    }
    return diffIds.length === 0 ? null : diffIds
  }
}

async function readChain(path: string): Promise<ChainSnapshot | null> {
  try {
    const diffIds = (await readFile(join(path, DIFF_IDS), 'utf8')).trimEnd().split('\n').map(parseDigest)
    const chainId = chainIdOf(diffIds)
    return chainId === null ? null : { chainId, path, diffIds }
  } catch (error) {
    // Removed meanwhile.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/** Merges layers into a subvolume, which is made unless it is there. */
async function makeSubvolume(
  directory: string,
  name: string,
  lowers: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  await inDirectory(directory, dir => [
    step('subvolume_create', { dir, name }, { why: `make the subvolume ${name}`, tolerate: [EEXIST] }),
    // Programs of images that set their user are nobody's to execute but containers' (CVE-2021-41091).
    step('chmod', { fd: dir, path: name, mode: 0o700 }, 'let nobody else in'),
  ])
  await mkdir(join(directory, name, MERGED_ROOT), { recursive: true, mode: 0o755 })
  await mergeLayers(join(directory, name), lowers, null, signal)
}

/** A snapshot of a subvolume. One that is there under this name stays. */
async function snapshot(from: string, directory: string, name: string, mode: 'readonly' | 'writable'): Promise<void> {
  await inDirectory(directory, (dir, slots) => {
    const source = slots.allocate('source')
    return [
      step(
        'open',
        { path: from, flags: O_PATH | O_DIRECTORY | O_NOFOLLOW, mode: 0, out: source },
        'find the subvolume to make a snapshot of',
      ),
      step(
        'subvolume_snapshot',
        { source, dir, name, readonly: mode === 'readonly' ? 1 : 0 },
        { why: `make a ${mode} snapshot of it`, ...(mode === 'readonly' && { tolerate: [EEXIST] }) },
      ),
    ]
  })
}

/** Removes a subvolume with all that is in it; also what is a directory, since its making was cut short or a container replaced it. */
async function removeSubvolume(directory: string, name: string): Promise<void> {
  await inDirectory(directory, dir => [
    step(
      'subvolume_delete',
      { dir, name },
      { why: `delete the subvolume ${name}`, tolerate: [ENOENT, ENOTTY], skipOnSuccess: 1 },
    ),
    step('remove_tree', { dir, name }, `remove the directory ${name}`),
  ])
}

async function inDirectory(path: string, compose: (dir: Slot, slots: SlotTable) => readonly Step[]): Promise<void> {
  const slots = new SlotTable()
  const dir = slots.allocate('directory')
  const find = step('open', { path, flags: O_PATH | O_DIRECTORY | O_NOFOLLOW, mode: 0, out: dir }, `find ${path}`)
  const steps = [find, ...compose(dir, slots)]
  await runSteps(steps, slots.count)
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

async function entriesOf(path: string): Promise<readonly string[]> {
  try {
    return await readdir(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Why subvolumes can't be used below a data root (an absolute path that exists), null when they can: makes one and deletes it. */
export async function btrfsProblem(dataRoot: string): Promise<string | null> {
  if ((await statfs(dataRoot)).type !== BTRFS_SUPER_MAGIC) return `"${dataRoot}" is not on btrfs`
  const name = makingName()
  try {
    await inDirectory(dataRoot, dir => [
      step('subvolume_create', { dir, name }, 'make a subvolume'),
      step('subvolume_delete', { dir, name }, 'delete a subvolume'),
    ])
    return null
  } catch (error) {
    return messageOf(error)
  }
}

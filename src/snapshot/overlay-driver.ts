import { chownSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { runSteps } from '../host/helper.ts'
import { messageOf } from '../lib/error.ts'
import { MOVE_MOUNT_F_EMPTY_PATH } from '../linux/mount-flags.ts'
import { O_DIRECTORY, O_PATH } from '../linux/open-flags.ts'
import { SlotTable } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'
import { leaveHost, takeTree } from './confined-plan.ts'
import { makingName, removeTree } from './leftovers.ts'
import { removeDirectory } from './remove-directory.ts'
import type { SnapshotRoot } from './root-source.ts'
import type {
  ChainSnapshot,
  DriverName,
  LayerStack,
  RootIds,
  SnapshotChanges,
  SnapshotDriver,
  SnapshotUsage,
} from './snapshot-driver.ts'
import { treeUsage } from './tree-usage.ts'

/** The container's own changes, and overlayfs's scratch directory beside them. */
const UPPER = 'upper'
const WORK = 'work'

/**
 * overlayfs of the kernel: a root is two empty directories, made in no time however large the image, and its mount shows the layers
 * below them. Layers are idmapped; the upper directory holds host ids.
 */
export class OverlayDriver implements SnapshotDriver {
  readonly name: DriverName = 'overlay'

  describe(directory: string, { lowers }: LayerStack): SnapshotRoot {
    return { kind: 'overlay', lowers, upper: join(directory, UPPER), work: join(directory, WORK) }
  }

  async create(directory: string, { seed }: LayerStack, ids: RootIds | null, signal?: AbortSignal): Promise<void> {
    makeUpper(directory, ids)
    if (seed === undefined) return
    const { seedUpper } = await import('./seed-upper.ts')
    await seedUpper(directory, seed, ids, signal)
  }

  activate(): Promise<void> {
    return Promise.resolve()
  }

  async remove(directory: string): Promise<void> {
    await removeUpper(directory)
  }

  async usageOf(directory: string): Promise<SnapshotUsage> {
    return await treeUsage(join(directory, UPPER), { extents: false })
  }

  changesOf(directory: string, _: LayerStack, ids: RootIds | null): Promise<SnapshotChanges & AsyncDisposable> {
    return Promise.resolve(upperChanges(directory, ids))
  }

  chains(): Promise<readonly ChainSnapshot[]> {
    return Promise.resolve([])
  }

  sweep(): Promise<void> {
    return Promise.resolve()
  }
}

/** Makes the two directories of an overlay of one's own; the root of a container is owned by its own root. */
export function makeUpper(directory: string, ids: RootIds | null): void {
  for (const name of [UPPER, WORK]) mkdirSync(join(directory, name), { recursive: true, mode: 0o755 })
  if (ids !== null) chownSync(join(directory, UPPER), ids.start, ids.start)
}

/** Removes them. */
export async function removeUpper(directory: string): Promise<void> {
  for (const name of [UPPER, WORK]) await removeDirectory(join(directory, name))
}

/** The changes that {@link makeUpper}'s directory holds. */
export function upperChanges(directory: string, ids: RootIds | null): SnapshotChanges & AsyncDisposable {
  return {
    path: join(directory, UPPER),
    ids,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

/**
 * Why overlayfs can't be used below a data root (an absolute path that exists), null when it can: mounts one there, of an idmapped layer
 * and a writable directory, where nobody sees it, and writes to it. With an `image` that one is the layer.
 */
export async function overlayProblem(dataRoot: string, image: string | null = null): Promise<string | null> {
  const name = makingName()
  const directory = join(dataRoot, name)
  for (const each of ['lower', UPPER, WORK]) mkdirSync(join(directory, each), { recursive: true, mode: 0o700 })
  try {
    const slots = new SlotTable()
    await runSteps(probeSteps(directory, image ?? join(directory, 'lower'), slots), slots.count)
    return null
  } catch (error) {
    return messageOf(error)
  } finally {
    await removeTree(dataRoot, name)
  }
}

/** Any ids do: nothing is owned by them afterwards. */
const PROBE_MAP = '0 1400000 65536\n'

function probeSteps(directory: string, layer: string, slots: SlotTable): readonly Step[] {
  const [lower, upper, work] = [slots.allocate('lower'), slots.allocate(UPPER), slots.allocate(WORK)]
  const [userns, root] = [slots.allocate('user namespace'), slots.allocate('overlay')]
  const flags = O_PATH | O_DIRECTORY
  return [
    ...leaveHost('make a mount namespace of its own'),
    step('userns', { uidMap: PROBE_MAP, gidMap: PROBE_MAP, out: userns }, 'make ids to map to'),
    step('open', { path: join(directory, UPPER), flags, mode: 0, out: upper }, 'find the upper directory'),
    step('open', { path: join(directory, WORK), flags, mode: 0, out: work }, 'find the work directory'),
    ...takeTree(layer, lower, { readonly: true, userns }, 'a layer'),
    step(
      'move_mount',
      { from: lower, to: null, path: '/', flags: MOVE_MOUNT_F_EMPTY_PATH },
      'attach it, so that overlayfs takes it (before Linux 6.15)',
    ),
    step(
      'mount_overlay',
      { joined: 1, lowers: [lower], upper, work, options: [], attrs: 0, out: root },
      'mount an overlay of an idmapped layer',
    ),
    step('mkdir', { dir: root, path: 'made', mode: 0o700 }, 'write to the overlay'),
  ]
}

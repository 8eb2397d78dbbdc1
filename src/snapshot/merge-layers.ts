import { initPath } from '../host/init-path.ts'
import { RecordReader } from '../host/launcher.ts'
import { BerthError } from '../lib/error.ts'
import { O_DIRECTORY, O_PATH } from '../linux/open-flags.ts'
import { encodePlan } from '../plan/encode.ts'
import { type Slot, SlotTable } from '../plan/slots.ts'
import { type ArgsOf, hostPlan, type Plan, type Step, step } from '../plan/step.ts'
import { dieWithParent, dropPrivileges, enterTree, leaveHost, takeTree } from './confined-plan.ts'
import type { RootIds } from './snapshot-driver.ts'

/** In the directory that layers are merged in: the tree, and for the time of the merging a name for each file with several. */
export const MERGED_ROOT = 'root'
const LINKS = 'links'

/**
 * The plan of a process that reaches nothing but `directory`, to write, and the layers, to read: it merges them, the lowest first, into
 * `directory`/root, as if that were the upper directory of an overlay of each. With `ids` the owners are shifted into that range.
 */
export function mergePlan(directory: string, lowers: readonly string[], ids: RootIds | null): Plan {
  const slots = new SlotTable()
  const target = slots.allocate('snapshot')
  const layers = lowers.toReversed().map((path, index) => ({ path, slot: slots.allocate(`layer${index}`) }))
  const [root, links] = [slots.allocate(MERGED_ROOT), slots.allocate(LINKS)]
  const flags = O_PATH | O_DIRECTORY
  const steps = [
    dieWithParent('stop when nobody waits for it any more'),
    ...leaveHost('leave the network and the mounts of the host'),
    ...layers.flatMap(({ path, slot }) => takeTree(path, slot, { readonly: true }, 'a layer')),
    ...takeTree(directory, target, { readonly: false }, 'the directory of the snapshot'),
    ...enterTree(target),
    ...dropPrivileges('writing'),
    step('open', { path: MERGED_ROOT, flags, mode: 0, out: root }, 'find the tree'),
    ...layers.flatMap(({ slot }) =>
      mergeSteps(
        { name: LINKS, slot: links },
        { from: slot, to: root, ids, base: null, keepMarks: 0 },
        'copy the layer onto what is below it',
      ),
    ),
  ]
  return hostPlan(steps, slots.count)
}

/** What `merge_tree` takes, with the range that owners are shifted into as snapshots name it. */
type Merge = Omit<ArgsOf<'merge_tree'>, 'links' | 'idStart' | 'idCount'> & { readonly ids: RootIds | null }

/** Merges a tree into another, with a directory of the working directory that keeps, meanwhile, a name for each file with several. */
export function mergeSteps(links: { readonly name: string; readonly slot: Slot }, merge: Merge, why: string): Step[] {
  const { ids, ...rest } = merge
  const [idStart, idCount] = ids === null ? [0, 0] : [ids.start, ids.size]
  const flags = O_PATH | O_DIRECTORY
  return [
    step('mkdir', { dir: null, path: links.name, mode: 0o700 }, 'make room for the names of files with several'),
    step('open', { path: links.name, flags, mode: 0, out: links.slot }, 'find it'),
    step('merge_tree', { ...rest, links: links.slot, idStart, idCount }, why),
    step('remove_tree', { dir: null, name: links.name }, 'remove the second names'),
  ]
}

/**
 * Merges layers (absolute directories, the topmost first) into `directory`/root, which must exist, and be empty or what is below them.
 * What is in the files is shared with the layers where the filesystem can do that. On throw a part may be there.
 * @throws {StepError} @throws the reason of `signal`
 */
export async function mergeLayers(
  directory: string,
  lowers: readonly string[],
  ids: RootIds | null,
  signal?: AbortSignal,
): Promise<void> {
  await runConfined(mergePlan(directory, lowers, ids), signal)
}

/** Two trees of which one was made from the other. */
export interface ComparedTrees {
  /** Absolute. */
  readonly before: string
  readonly after: string
  /** The ids that those of `before` have become in `after`; null: the same. */
  readonly ids: RootIds | null
}

/** The plan of a process as confined as that of {@link mergePlan}, which puts into `directory`/root what the trees differ in. */
export function changesPlan(directory: string, { before, after, ids }: ComparedTrees): Plan {
  const slots = new SlotTable()
  const [target, base, from] = [slots.allocate('changes'), slots.allocate('tree before'), slots.allocate('tree after')]
  const [root, links] = [slots.allocate(MERGED_ROOT), slots.allocate(LINKS)]
  const flags = O_PATH | O_DIRECTORY
  const steps = [
    dieWithParent('stop when nobody waits for it any more'),
    ...leaveHost('leave the network and the mounts of the host'),
    ...takeTree(before, base, { readonly: true }, 'the tree before'),
    ...takeTree(after, from, { readonly: true }, 'the tree after'),
    ...takeTree(directory, target, { readonly: false }, 'the directory of the changes'),
    ...enterTree(target),
    ...dropPrivileges('writing'),
    step('open', { path: MERGED_ROOT, flags, mode: 0, out: root }, 'find where the changes go'),
    ...mergeSteps({ name: LINKS, slot: links }, { from, to: root, ids, base, keepMarks: 0 }, 'copy what has changed'),
  ]
  return hostPlan(steps, slots.count)
}

/**
 * Puts what one tree has changed of another into `directory`/root, which must exist and be empty: as the upper directory of an overlay over
 * `before` that shows `after`. Files are taken for unchanged whose attributes, size and time are the same.
 * @throws {StepError}
 */
export async function extractChanges(directory: string, trees: ComparedTrees): Promise<void> {
  await runConfined(changesPlan(directory, trees))
}

/** Runs a plan that makes files. @throws {StepError} @throws the reason of `signal` */
export async function runConfined(plan: Plan, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted()
  const child = Bun.spawn([initPath(), 'plan'], { stdio: ['pipe', 'pipe', 'inherit'], env: {} })
  const cancel = (): void => child.kill('SIGKILL')
  signal?.addEventListener('abort', cancel, { once: true })
  try {
    child.stdin.write(encodePlan(plan))
    await child.stdin.end()
    await outcome(new RecordReader(child.stdout), plan)
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener('abort', cancel)
    cancel()
    await child.exited
  }
}

async function outcome(reader: RecordReader, plan: Plan): Promise<void> {
  for (;;) {
    const record = await reader.next()
    if (record?.kind === 'done') return
    if (record?.kind === 'fail') throw (await import('../plan/describe-failure.ts')).stepError(plan, record)
    if (record === null) throw new BerthError('cancelled', 'Cannot merge layers: berth-init ended early')
  }
}

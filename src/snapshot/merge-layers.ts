import { initPath } from '../host/init-path.ts'
import { RecordReader } from '../host/launcher.ts'
import { BerthError } from '../lib/error.ts'
import { O_DIRECTORY, O_PATH } from '../linux/open-flags.ts'
import { encodePlan } from '../plan/encode.ts'
import { SlotTable } from '../plan/slots.ts'
import { hostPlan, type Plan, step } from '../plan/step.ts'
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
  const [idStart, idCount] = ids === null ? [0, 0] : [ids.start, ids.size]
  const steps = [
    dieWithParent('stop when nobody waits for it any more'),
    ...leaveHost('leave the network and the mounts of the host'),
    ...layers.flatMap(({ path, slot }) => takeTree(path, slot, { readonly: true }, 'a layer')),
    ...takeTree(directory, target, { readonly: false }, 'the directory of the snapshot'),
    ...enterTree(target),
    ...dropPrivileges('writing'),
    step('open', { path: MERGED_ROOT, flags, mode: 0, out: root }, 'find the tree'),
    ...layers.flatMap(({ slot }) => [
      step('mkdir', { dir: null, path: LINKS, mode: 0o700 }, 'make room for the names of files with several'),
      step('open', { path: LINKS, flags, mode: 0, out: links }, 'find it'),
      step(
        'merge_tree',
        { from: slot, to: root, links, idStart, idCount, base: null, keepMarks: 0 },
        'copy the layer onto what is below it',
      ),
      step('remove_tree', { dir: null, name: LINKS }, 'remove the second names'),
    ]),
  ]
  return hostPlan(steps, slots.count)
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
  const [idStart, idCount] = ids === null ? [0, 0] : [ids.start, ids.size]
  const steps = [
    dieWithParent('stop when nobody waits for it any more'),
    ...leaveHost('leave the network and the mounts of the host'),
    ...takeTree(before, base, { readonly: true }, 'the tree before'),
    ...takeTree(after, from, { readonly: true }, 'the tree after'),
    ...takeTree(directory, target, { readonly: false }, 'the directory of the changes'),
    ...enterTree(target),
    ...dropPrivileges('writing'),
    step('open', { path: MERGED_ROOT, flags, mode: 0, out: root }, 'find where the changes go'),
    step('mkdir', { dir: null, path: LINKS, mode: 0o700 }, 'make room for the names of files with several'),
    step('open', { path: LINKS, flags, mode: 0, out: links }, 'find it'),
    step('merge_tree', { from, to: root, links, idStart, idCount, base, keepMarks: 0 }, 'copy what has changed'),
    step('remove_tree', { dir: null, name: LINKS }, 'remove the second names'),
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

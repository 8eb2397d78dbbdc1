import { runSteps } from '../host/helper.ts'
import { ENOENT } from '../lib/errno.ts'
import { BerthError } from '../lib/error.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from '../linux/open-flags.ts'
import { SlotTable } from '../plan/slots.ts'
import { step } from '../plan/step.ts'
import type { SnapshotUsage } from './snapshot-driver.ts'

/** Four numbers of 64 bits: see `tree_usage` in docs/plan-protocol.md. */
const ANSWER_BYTES = 32

/**
 * What the files of a tree take of the disk; nothing when there is no tree. `extents`: look at each file's extents for what is shared
 * with other files, which costs a call per file and is of use on filesystems with reflinks only.
 * @throws {StepError}
 */
export async function treeUsage(path: string, { extents }: { readonly extents: boolean }): Promise<SnapshotUsage> {
  const slots = new SlotTable()
  const tree = slots.allocate('tree')
  const { data } = await runSteps(
    [
      step(
        'open',
        { path, flags: O_PATH | O_DIRECTORY | O_NOFOLLOW, mode: 0, out: tree },
        { why: 'find the tree', tolerate: [ENOENT], skipOnFailure: 1 },
      ),
      step('tree_usage', { dir: tree, extents: extents ? 1 : 0 }, 'add up what its files take of the disk'),
    ],
    slots.count,
  )
  const [answer] = data
  if (answer === undefined) return { fileCount: 0, uniqueBytes: 0, sharedBytes: 0 }
  if (answer.length !== ANSWER_BYTES)
    throw new BerthError('internal', `Cannot measure "${path}": berth-init answered with ${answer.length} bytes`)
  const numbers = new DataView(answer.buffer, answer.byteOffset, answer.byteLength)
  const [fileCount, bytes, sharedBytes] = [0, 8, 16].map(at => Number(numbers.getBigUint64(at, true)))
  return {
    fileCount: fileCount ?? 0,
    uniqueBytes: (bytes ?? 0) - (sharedBytes ?? 0),
    sharedBytes: sharedBytes ?? 0,
  }
}

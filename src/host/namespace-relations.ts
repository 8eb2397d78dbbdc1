import { EPERM } from '../lib/errno.ts'
import { messageOf } from '../lib/error.ts'
import type { NamespaceRelation } from '../linux/namespace-tree.ts'
import { namespaceOfCloneFlag } from '../linux/namespaces.ts'
import { step } from '../plan/step.ts'
import { Helper } from './helper.ts'

/** What the namespaces at some paths say about their owners and parents. */
export interface NamespaceFamily {
  readonly relations: readonly NamespaceRelation[]
  /** How many did not tell all. */
  readonly hiddenCount: number
  /** Why none could be asked; null: they were. */
  readonly error: string | null
}

/** A plan holds at most 4,096 steps. */
const BATCH_SIZE = 2048

/** The initial user and PID namespace. Source: include/linux/proc_ns.h. */
const INITIAL_INODES: readonly number[] = [0xefff_fffd, 0xefff_fffc]

/**
 * Asks the namespaces whose files are at these paths. A path that is gone, or is no namespace, is left out.
 * Needs berth-init, because ioctl_nsfs(2) is out of Bun's reach.
 */
export async function readNamespaceRelations(paths: readonly string[]): Promise<NamespaceFamily> {
  const records: Uint8Array[] = []
  try {
    await using helper = new Helper()
    for (let start = 0; start < paths.length; start += BATCH_SIZE) {
      const batch = paths.slice(start, start + BATCH_SIZE)
      const steps = batch.map(path =>
        step('nsinfo', { path }, { why: 'ask a namespace for its family', tolerate: 'all' }),
      )
      records.push(...(await helper.run(steps)).data)
    }
  } catch (error) {
    return { relations: [], hiddenCount: 0, error: messageOf(error) }
  }
  const answers = records.map(parseNamespaceInfo).filter(answer => answer !== undefined)
  const hiddenCount = paths.length - answers.filter(answer => !answer.hidden).length
  return { relations: answers.map(answer => answer.relation), hiddenCount, error: null }
}

const INFO_BYTES = 48
const NO_UID = 0xffff_ffff

/**
 * Parses the DATA of `nsinfo` (native/op-nsinfo.c, `struct nsinfo`); undefined for a kind of namespace that is not known.
 * `hidden`: the caller may not see its owner or parent.
 * @throws {RangeError} when it is too short
 */
export function parseNamespaceInfo(bytes: Uint8Array): { relation: NamespaceRelation; hidden: boolean } | undefined {
  if (bytes.length < INFO_BYTES) throw new RangeError(`namespace information of ${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const kind = namespaceOfCloneFlag(view.getUint32(0, true))
  if (kind === undefined) return undefined
  const ownerUid = view.getUint32(4, true)
  const inodeAt = (offset: number) => Number(view.getBigUint64(offset, true))
  const parentErrno = view.getInt32(40, true)
  const ownerErrno = view.getInt32(44, true)
  return {
    relation: {
      type: kind.type,
      inode: inodeAt(16),
      parent: parentErrno === 0 ? inodeAt(24) : null,
      owner: ownerErrno === 0 ? inodeAt(32) : null,
      ownerUid: ownerUid === NO_UID ? null : ownerUid,
    },
    // EPERM is also what the initial namespaces answer, which have no parent, and EINVAL that of a kind that does not nest.
    hidden: !INITIAL_INODES.includes(inodeAt(16)) && (parentErrno === EPERM || ownerErrno === EPERM),
  }
}

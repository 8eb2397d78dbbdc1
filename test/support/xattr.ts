/** Sets attributes as tests need them: byte for byte, by berth-init itself. */
import { basename, dirname } from 'node:path'
import { runSteps } from '../../src/host/helper.ts'
import { O_DIRECTORY, O_PATH } from '../../src/linux/open-flags.ts'
import { SlotTable } from '../../src/plan/slots.ts'
import { step } from '../../src/plan/step.ts'

/** Sets an extended attribute of a file that is no link. */
export async function setXattr(path: string, name: string, value: string | Uint8Array): Promise<void> {
  const slots = new SlotTable()
  const dir = slots.allocate('directory')
  await runSteps([
    step('open', { path: dirname(path), flags: O_PATH | O_DIRECTORY, mode: 0, out: dir }, 'find it'),
    step('setxattr', { dir, path: basename(path), name, value }, 'the test wants it'),
  ])
}

/** The value of `system.posix_acl_access` with entries for one more user and one more group. Source: linux/posix_acl_xattr.h. */
export function aclValue(user: number, group: number): Buffer {
  const none = 0xffff_ffff
  const entries = [
    [0x01, 7, none],
    [0x02, 7, user],
    [0x04, 4, none],
    [0x08, 4, group],
    [0x10, 7, none],
    [0x20, 4, none],
  ] as const
  const bytes = Buffer.alloc(4 + entries.length * 8)
  bytes.writeUInt32LE(2)
  for (const [index, [tag, permissions, id]] of entries.entries()) {
    bytes.writeUInt16LE(tag, 4 + index * 8)
    bytes.writeUInt16LE(permissions, 6 + index * 8)
    bytes.writeUInt32LE(id, 8 + index * 8)
  }
  return bytes
}

/** The value of `security.capability` for CAP_NET_RAW; of a user namespace's root with a `rootId`. Source: linux/capability.h. */
export function capabilityValue(rootId?: number): Buffer {
  const words = [
    rootId === undefined ? 0x0200_0001 : 0x0300_0001,
    1 << 13,
    0,
    0,
    0,
    ...(rootId === undefined ? [] : [rootId]),
  ]
  const bytes = Buffer.alloc(words.length * 4)
  for (const [index, word] of words.entries()) bytes.writeUInt32LE(word, index * 4)
  return bytes
}

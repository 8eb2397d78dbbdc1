import { MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH } from '../linux/mount-flags.ts'
import type { Slot } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'

const BY_FD = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH

/** Mounts a detached mount at a target that was resolved once, by fd only. */
export function attach(from: Slot, to: Slot, destination: string): Step {
  return step('move_mount', { from, to, path: '', flags: BY_FD }, `mount it at ${destination}`)
}

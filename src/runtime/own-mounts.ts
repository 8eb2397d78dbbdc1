import { CLONE_NEWNS } from '../linux/namespaces.ts'
import { O_DIRECTORY, O_PATH, O_RDONLY } from '../linux/open-flags.ts'
import { type Step, step } from '../plan/step.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** For a visit of the launcher to another mount namespace: what to do before it, and the steps that lead back. */
export function keepOwnMounts(builder: PlanBuilder): {
  readonly keep: readonly Step[]
  readonly back: readonly Step[]
} {
  const mounts = builder.slots.allocate('own mount namespace')
  const root = builder.slots.allocate('own root directory')
  const cwd = builder.slots.allocate('own working directory')
  const flags = O_PATH | O_DIRECTORY
  const keep = [
    step(
      'open',
      { path: '/proc/self/ns/mnt', flags: O_RDONLY, mode: 0, out: mounts },
      "keep the launcher's own mount namespace",
    ),
    step('open', { path: '/', flags, mode: 0, out: root }, 'and its root directory'),
    step('open', { path: '.', flags, mode: 0, out: cwd }, 'and its working directory'),
  ]
  const back = [
    step('setns', { fd: mounts, type: CLONE_NEWNS }, "return to the launcher's own mount namespace"),
    step('fchdir', { fd: root }, 'and to its root directory, which the return has changed'),
    step('chroot', { path: '.' }, 'make it the root again'),
    step('fchdir', { fd: cwd }, 'and to its working directory'),
  ]
  return { keep, back }
}

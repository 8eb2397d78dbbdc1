import { EPERM } from '../lib/errno.ts'
import { capabilityMask, isCapability } from '../linux/capabilities.ts'
import { PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS } from '../linux/prctl.ts'
import type { Process } from '../oci/runtime-spec.ts'
import { type Step, step } from '../plan/step.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** A compiled seccomp filter; see src/linux/seccomp. */
export interface SeccompFilter {
  readonly program: Uint8Array
  readonly flags: number
  /** Where the listener of SCMP_ACT_NOTIFY goes, and what is sent along. */
  readonly listener: { readonly socket: string; readonly message: string } | null
}

/** What happens between the moments of the change, composed by the caller. */
interface Moments {
  /** The ids are the user's. */
  asUser(): void
  /** Only limits, seccomp and execve are left. */
  beforeFilter(): void
}

interface Sets {
  readonly effective: bigint
  readonly permitted: bigint
  readonly inheritable: bigint
  readonly ambient: bigint
  readonly bounding: bigint
}

/**
 * User, groups, capabilities, no_new_privs and seccomp, in the only order that works: capabilities are kept over the change of
 * ids (PR_SET_KEEPCAPS), seccomp without no_new_privs needs CAP_SYS_ADMIN and so comes before the last capabilities go,
 * with no_new_privs it comes after, directly before execve. Source: capabilities(7), seccomp(2).
 */
export function composeCredentials(
  builder: PlanBuilder,
  process: Process,
  seccomp: SeccompFilter | null,
  moments: Moments,
): void {
  const { exec } = builder
  const { uid = 0, gid = 0, additionalGids = [] } = process.user ?? {}
  const sets = capabilitySets(process)
  exec.push(
    step('cap_bound', { keep: sets.bounding }, 'drop what no program may regain (process.capabilities.bounding)'),
  )
  exec.push(
    step(
      'setgroups',
      { gids: additionalGids },
      // Where an unprivileged user made the namespace, setgroups is denied there; without groups to set nothing is lost.
      {
        why: 'set the supplementary groups (process.user.additionalGids)',
        ...(additionalGids.length === 0 && { tolerate: [EPERM] }),
      },
    ),
    step(
      'prctl',
      { option: PR_SET_KEEPCAPS, arg2: 1, arg3: 0, arg4: 0, arg5: 0 },
      'keep capabilities over the change of user',
    ),
    step('setresgid', { gid }, 'become the group (process.user.gid)'),
    step('setresuid', { uid }, 'become the user (process.user.uid)'),
  )
  moments.asUser()
  if (process.noNewPrivileges === true) {
    exec.push(
      step(
        'prctl',
        { option: PR_SET_NO_NEW_PRIVS, arg2: 1, arg3: 0, arg4: 0, arg5: 0 },
        'let no set-user-id program add privileges (process.noNewPrivileges)',
      ),
    )
    exec.push(...lastCapabilities(sets))
    filtered(builder, seccomp, moments)
    return
  }
  // A change of user has cleared the effective set, and seccomp needs CAP_SYS_ADMIN in it.
  if (seccomp !== null && uid !== 0) exec.push(...regain(sets))
  filtered(builder, seccomp, moments)
  exec.push(...lastCapabilities(sets))
}

/** The filter; its listener must reach the agent while the launcher is there, so before the wait for start. */
function filtered(builder: PlanBuilder, seccomp: SeccompFilter | null, moments: Moments): void {
  if (seccomp === null) {
    moments.beforeFilter()
    return
  }
  const { program, flags, listener } = seccomp
  const slot = listener === null ? null : builder.slots.allocate('seccomp listener')
  const load = step('seccomp', { program, flags, out: slot }, 'filter system calls (linux.seccomp)')
  if (listener === null || slot === null) {
    moments.beforeFilter()
    builder.exec.push(load)
    return
  }
  builder.exec.push(load, step('send_fd', { fd: slot }, 'hand the listener to the launcher'))
  builder.parent.push(
    step('recv_fd', { out: slot }, 'receive the seccomp listener'),
    step(
      'send_fd_to',
      { socket: listener.socket, fd: slot, data: listener.message },
      'hand it to the agent (linux.seccomp.listenerPath)',
    ),
  )
  moments.beforeFilter()
}

function capabilitySets(process: Process): Sets {
  const mask = (names: readonly string[] | undefined): bigint => capabilityMask((names ?? []).filter(isCapability))
  const { effective, permitted, inheritable, ambient, bounding } = process.capabilities ?? {}
  return {
    effective: mask(effective),
    permitted: mask(permitted),
    inheritable: mask(inheritable),
    // The kernel lets a capability be ambient only while it is permitted and inheritable; runc's own default config asks for more.
    ambient: mask(ambient) & mask(permitted) & mask(inheritable),
    bounding: mask(bounding),
  }
}

/** No more than needed: the launcher itself may lack a capability, and none that is not permitted can be asked for. */
function regain(sets: Sets): Step[] {
  const kept = sets.permitted | capabilityMask(['CAP_SYS_ADMIN'])
  return [
    step(
      'capset',
      { effective: kept, permitted: kept, inheritable: sets.inheritable },
      {
        why: 'regain what seccomp needs after the change of user',
      },
    ),
  ]
}

function lastCapabilities(sets: Sets): Step[] {
  return [
    step(
      'capset',
      { effective: sets.effective, permitted: sets.permitted, inheritable: sets.inheritable },
      'keep the capabilities of the config (process.capabilities)',
    ),
    step(
      'cap_ambient',
      { raise: sets.ambient },
      'let programs that are not root have these (process.capabilities.ambient)',
    ),
  ]
}

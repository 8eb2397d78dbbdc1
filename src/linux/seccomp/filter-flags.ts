/** The flags of seccomp(2) that a config asks for, and the rules of the listener. Source: seccomp(2); runtime-spec › Seccomp. */
import { BerthError } from '../../lib/error.ts'
import { SECCOMP_FILTER_FLAG, type SeccompConfig } from './config.ts'

/**
 * Calls that the container's first process makes between loading the filter and handing over the listener. Nobody
 * could answer a notification about them yet, so they would never return. runc hands over with write and refuses that;
 * Berth passes the fd with sendmsg, and refuses runc's too, so that a config behaves alike under both.
 */
const HANDOVER_CALLS: readonly string[] = ['sendmsg', 'write']

/** Whether a rule sends calls to a listener. */
export function usesNotify(config: SeccompConfig): boolean {
  return (config.syscalls ?? []).some(entry => entry.action === 'SCMP_ACT_NOTIFY')
}

/**
 * The flags, with NEW_LISTENER when a rule notifies. `listenerPath` without such a rule is ignored, as the spec says.
 * @throws {BerthError} invalidArgument when listener, notifying rules and flags do not go together.
 */
export function filterFlags(config: SeccompConfig): number {
  const notifies = usesNotify(config)
  checkListener(config, notifies)
  let flags = notifies ? SECCOMP_FILTER_FLAG.SECCOMP_FILTER_FLAG_NEW_LISTENER : 0
  for (const flag of config.flags ?? ['SECCOMP_FILTER_FLAG_SPEC_ALLOW']) {
    const bit: number | undefined = SECCOMP_FILTER_FLAG[flag]
    if (bit === undefined) throw filterError(`flag "${flag}" is not known`)
    flags |= bit
  }
  if (flags & SECCOMP_FILTER_FLAG.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV && !notifies) {
    // EINVAL otherwise: kernel/seccomp.c, seccomp_set_mode_filter().
    throw filterError('flag SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, expected with a rule of SCMP_ACT_NOTIFY')
  }
  if (flags & SECCOMP_FILTER_FLAG.SECCOMP_FILTER_FLAG_TSYNC && notifies) {
    // With both flags the kernel asks for this one, since one return value can't be a thread id and an fd (Linux 5.7).
    flags |= SECCOMP_FILTER_FLAG.SECCOMP_FILTER_FLAG_TSYNC_ESRCH
  }
  return flags
}

function checkListener(config: SeccompConfig, notifies: boolean): void {
  if (config.defaultAction === 'SCMP_ACT_NOTIFY') {
    throw filterError('default action SCMP_ACT_NOTIFY, expected another: the listener could never be handed over')
  }
  if (config.listenerMetadata !== undefined && !config.listenerPath) {
    throw filterError('listenerMetadata without listenerPath')
  }
  if (!notifies) return
  if (!config.listenerPath) throw filterError('a rule of SCMP_ACT_NOTIFY without listenerPath')
  for (const entry of config.syscalls ?? []) {
    const name = entry.action === 'SCMP_ACT_NOTIFY' && entry.names.find(call => HANDOVER_CALLS.includes(call))
    if (!name) continue
    throw filterError(`SCMP_ACT_NOTIFY for ${name}, expected another action: it hands over the listener itself`)
  }
}

function filterError(state: string): BerthError {
  return new BerthError('invalidArgument', `Cannot compile seccomp filter: ${state}`)
}

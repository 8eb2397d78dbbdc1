/** What a filter returns for an action. Source: seccomp(2); runtime-spec › Seccomp › `errnoRet`. */
import { EPERM } from '../../lib/errno.ts'
import { BerthError } from '../../lib/error.ts'
import { SECCOMP_RET, type SeccompAction } from './config.ts'

/** The kernel returns at most MAX_ERRNO (include/linux/err.h), so a greater number would arrive as another. */
const ERRNO_MAX = 4095
const SECCOMP_RET_DATA = 0xffff

/**
 * The `SECCOMP_RET_*` value with its data. `label` names the rule in errors.
 * @throws {BerthError} invalidArgument for an `errnoRet` that the action can't carry: the spec wants an error there.
 */
export function actionValue(action: SeccompAction, errnoRet: number | undefined, label: string): number {
  const value: number | undefined = SECCOMP_RET[action]
  if (value === undefined) throw actionError(label, `action "${action}" is not known`)
  if (action !== 'SCMP_ACT_ERRNO' && action !== 'SCMP_ACT_TRACE') {
    if (errnoRet === undefined) return value
    throw actionError(label, `errnoRet ${errnoRet} with ${action}, expected SCMP_ACT_ERRNO or SCMP_ACT_TRACE`)
  }
  const data = errnoRet ?? EPERM
  const max = action === 'SCMP_ACT_ERRNO' ? ERRNO_MAX : SECCOMP_RET_DATA
  if (!Number.isInteger(data) || data < 0 || data > max) {
    throw actionError(label, `errnoRet ${data}, expected 0 to ${max}`)
  }
  return value | data
}

/** Actions that let a call through to the kernel, or to a tracer that knows what to do with an unknown one. */
export function isPermissive(value: number): boolean {
  const action = value & ~SECCOMP_RET_DATA
  return (
    action === SECCOMP_RET.SCMP_ACT_ALLOW ||
    action === SECCOMP_RET.SCMP_ACT_LOG ||
    action === SECCOMP_RET.SCMP_ACT_TRACE
  )
}

/** The name of the action in /proc/sys/kernel/seccomp/actions_avail. */
export const KERNEL_ACTION_NAMES: Readonly<Record<SeccompAction, string>> = Object.freeze({
  SCMP_ACT_KILL: 'kill_thread',
  SCMP_ACT_KILL_THREAD: 'kill_thread',
  SCMP_ACT_KILL_PROCESS: 'kill_process',
  SCMP_ACT_TRAP: 'trap',
  SCMP_ACT_ERRNO: 'errno',
  SCMP_ACT_NOTIFY: 'user_notif',
  SCMP_ACT_TRACE: 'trace',
  SCMP_ACT_LOG: 'log',
  SCMP_ACT_ALLOW: 'allow',
})

function actionError(label: string, state: string): BerthError {
  const object = label === '' ? 'seccomp default action' : `seccomp rule "${label}"`
  return new BerthError('invalidArgument', `Cannot compile ${object}: ${state}`)
}

/** Whether the parts of `linux.seccomp` fit together. Source: runtime-spec › Seccomp, seccomp(2). */

import type { SeccompAction, SeccompSyscall } from '../linux/seccomp/config.ts'
import type { Findings } from './findings.ts'
import type { Seccomp } from './runtime-spec-linux.ts'

/** Actions whose return data an errno fills. */
const WITH_ERRNO: readonly SeccompAction[] = ['SCMP_ACT_ERRNO', 'SCMP_ACT_TRACE']

/** The largest errno the kernel lets a filter return. */
const MAX_ERRNO = 4095

/** Checks a seccomp section; `path` is its place in the document. */
export function validateSeccomp(seccomp: Seccomp, path: string, findings: Findings): void {
  const { defaultAction, defaultErrnoRet, listenerPath = '', listenerMetadata = '', syscalls = [] } = seccomp
  validateErrno(defaultAction, defaultErrnoRet, `${path}.defaultErrnoRet`, findings)
  if (defaultAction === 'SCMP_ACT_NOTIFY') {
    // The call that hands the listener over would itself be stopped and wait for the listener.
    findings.problem(`${path}.defaultAction`, 'is SCMP_ACT_NOTIFY, expected it for single system calls only')
  }
  if (listenerMetadata !== '' && listenerPath === '') {
    findings.problem(`${path}.listenerMetadata`, 'is given, expected it with listenerPath only')
  }
  if (listenerPath !== '' && !listenerPath.startsWith('/')) {
    findings.problem(`${path}.listenerPath`, `is ${JSON.stringify(listenerPath)}, expected an absolute path`)
  }
  const notifies = syscalls.some(({ action }) => action === 'SCMP_ACT_NOTIFY')
  if (notifies && listenerPath === '') {
    findings.problem(`${path}.listenerPath`, 'is absent, expected it with SCMP_ACT_NOTIFY')
  }
  for (const [index, rule] of syscalls.entries()) validateRule(rule, `${path}.syscalls[${index}]`, findings)
}

function validateRule(rule: SeccompSyscall, path: string, findings: Findings): void {
  validateErrno(rule.action, rule.errnoRet, `${path}.errnoRet`, findings)
  if (rule.action === 'SCMP_ACT_NOTIFY' && rule.names.includes('write')) {
    findings.problem(path, 'has SCMP_ACT_NOTIFY for write, which the runtime needs to start the process')
  }
  for (const [index, { index: argument, op, valueTwo }] of (rule.args ?? []).entries()) {
    const at = `${path}.args[${index}]`
    if (argument > 5) findings.problem(`${at}.index`, `is ${argument}, expected 0 to 5`)
    if (op !== 'SCMP_CMP_MASKED_EQ' && valueTwo !== undefined && valueTwo !== 0n) {
      findings.warning(`${at}.valueTwo`, `is ignored with ${op}`)
    }
  }
}

function validateErrno(action: SeccompAction, errno: number | undefined, path: string, findings: Findings): void {
  if (errno === undefined) return
  if (!WITH_ERRNO.includes(action)) findings.problem(path, `is given, expected it with ${WITH_ERRNO.join(' or ')} only`)
  else if (action === 'SCMP_ACT_ERRNO' && errno > MAX_ERRNO) {
    findings.problem(path, `is ${errno}, expected at most ${MAX_ERRNO}`)
  }
}

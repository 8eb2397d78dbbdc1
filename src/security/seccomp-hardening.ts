/**
 * What Berth's default filter refuses beyond Docker's profile, or keeps refusing when a newer profile would not.
 *
 * The comparisons of a profile are hardened elsewhere, for every profile: `src/linux/seccomp/syscall-arguments.ts`
 * makes them about the bits that the kernel uses, so that `socket(0x1_00000026, …)` counts as AF_ALG.
 */
import { ENOSYS } from '../lib/errno.ts'
import type { SeccompArgument, SeccompConfig, SeccompSyscall } from '../linux/seccomp/config.ts'

/** The measures by name, each with its reason; `except` of `hardenProfile` takes these names. */
export const SECCOMP_HARDENINGS = Object.freeze({
  'socket-families':
    'AF_ALG wrote to the page cache of files shared between containers (CVE-2026-31431); AF_VSOCK reaches the hypervisor',
  socketcall:
    'a 32-bit socketcall(SYS_SOCKET, …) hides the family behind a pointer, where a filter cannot see it: it gets ENOSYS, on which musl and Go use socket(2); glibc for i386 has no other way and needs this measure off',
  io_uring: 'io_uring makes calls that no filter sees, and had the most exploited bugs of recent kernels',
  userfaultfd: 'it stops the kernel in the middle of a copy for as long as an exploit needs',
  keyring: 'keys are not in a namespace (CVE-2016-0728)',
})

export type SeccompHardening = keyof typeof SECCOMP_HARDENINGS

const AF_ALG = 38n
const AF_VSOCK = 40n
const SYS_SOCKET = 1n

const REMOVED_CALLS: Readonly<Partial<Record<SeccompHardening, readonly string[]>>> = {
  io_uring: ['io_uring_setup', 'io_uring_enter', 'io_uring_register'],
  userfaultfd: ['userfaultfd'],
  keyring: ['add_key', 'keyctl', 'request_key'],
}

/**
 * Hardens a profile whose default action refuses (made for Docker's). Rules that refuse, and rules that allow `socket`
 * for some families only, stay as they are. Pure: returns a new config.
 */
export function hardenProfile(config: SeccompConfig, except: readonly SeccompHardening[] = []): SeccompConfig {
  let syscalls = config.syscalls ?? []
  for (const [hardening, names] of Object.entries(REMOVED_CALLS)) {
    if (!except.some(name => name === hardening)) syscalls = withoutPermission(syscalls, names)
  }
  if (!except.includes('socket-families')) syscalls = withoutFamilies(syscalls)
  if (!except.includes('socketcall')) syscalls = withoutSocketThroughSocketcall(syscalls)
  return { ...config, syscalls }
}

function withoutPermission(syscalls: readonly SeccompSyscall[], names: readonly string[]): readonly SeccompSyscall[] {
  return syscalls.flatMap(entry => {
    if (entry.action !== 'SCMP_ACT_ALLOW' || !names.some(name => entry.names.includes(name))) return [entry]
    const kept = entry.names.filter(name => !names.includes(name))
    return kept.length === 0 ? [] : [{ ...entry, names: kept }]
  })
}

function allowsAlways(syscalls: readonly SeccompSyscall[], name: string): boolean {
  return syscalls.some(entry => isUnconditionalPermission(entry) && entry.names.includes(name))
}

function isUnconditionalPermission(entry: SeccompSyscall): boolean {
  return entry.action === 'SCMP_ACT_ALLOW' && (entry.args ?? []).length === 0
}

/** A rule without comparisons decides alone, so it gives way to one for each range of families that may pass. */
function withoutFamilies(syscalls: readonly SeccompSyscall[]): readonly SeccompSyscall[] {
  if (!allowsAlways(syscalls, 'socket')) return syscalls
  return [
    ...withoutPermission(syscalls, ['socket']),
    allow('socket', { index: 0, value: AF_ALG, op: 'SCMP_CMP_LT' }),
    allow('socket', { index: 0, value: AF_ALG + 1n, op: 'SCMP_CMP_EQ' }),
    allow('socket', { index: 0, value: AF_VSOCK, op: 'SCMP_CMP_GT' }),
  ]
}

/**
 * Docker answered socketcall with ENOSYS for one release and took it back, leaving AF_ALG to AppArmor (moby/profiles).
 * Without AppArmor that leaves the 32-bit way open. Only the creation of sockets is refused here.
 */
function withoutSocketThroughSocketcall(syscalls: readonly SeccompSyscall[]): readonly SeccompSyscall[] {
  const refusal: SeccompSyscall = {
    names: ['socketcall'],
    action: 'SCMP_ACT_ERRNO',
    errnoRet: ENOSYS,
    args: [{ index: 0, value: SYS_SOCKET, op: 'SCMP_CMP_EQ' }],
  }
  if (!allowsAlways(syscalls, 'socketcall')) return [...syscalls, refusal]
  const others = allow('socketcall', { index: 0, value: SYS_SOCKET + 1n, op: 'SCMP_CMP_GE' })
  return [...withoutPermission(syscalls, ['socketcall']), refusal, others]
}

function allow(name: string, argument: SeccompArgument): SeccompSyscall {
  return { names: [name], action: 'SCMP_ACT_ALLOW', args: [argument] }
}

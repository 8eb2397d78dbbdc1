/** `linux.seccomp`, by system calls that hit it. Source: runtime-spec › Seccomp. */

import { describe, expect } from 'bun:test'
import type { SeccompAction, SeccompOperator } from '../../../src/linux/seccomp/config.ts'
import type { Seccomp } from '../../../src/oci/runtime-spec-linux.ts'
import { conforms } from './harness.ts'

const EPERM = 1
const EBUSY = 16
const NO_FLAGS = 'runc 1.1 has no seccomp flags'
/** getpriority(2) and personality(2): harmless, and seldom called by programs. Numbers of x86_64 and aarch64. */
const [GETPRIORITY, PERSONALITY] = process.arch === 'arm64' ? [141, 92] : [140, 135]
const ARCHITECTURES = (
  process.arch === 'arm64' ? ['SCMP_ARCH_AARCH64'] : ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86']
) as Seccomp['architectures']

function filter(rules: NonNullable<Seccomp['syscalls']>, more: Partial<Seccomp> = {}): { linux: { seccomp: Seccomp } } {
  return {
    linux: {
      seccomp: { defaultAction: 'SCMP_ACT_ALLOW', architectures: ARCHITECTURES, syscalls: rules, ...more } as Seccomp,
    },
  }
}

function call(...numbers: readonly number[]): string[] {
  return ['probe', 'syscall', ...numbers.map(String)]
}

/** Operator, value (and mask), then arguments that match and that do not. */
const COMPARISONS: readonly (readonly [
  op: SeccompOperator,
  value: bigint,
  valueTwo: bigint,
  yes: number,
  no: number,
])[] = [
  ['SCMP_CMP_EQ', 2n, 0n, 2, 3],
  ['SCMP_CMP_NE', 2n, 0n, 3, 2],
  ['SCMP_CMP_LT', 2n, 0n, 1, 2],
  ['SCMP_CMP_LE', 2n, 0n, 2, 3],
  ['SCMP_CMP_GT', 2n, 0n, 3, 2],
  ['SCMP_CMP_GE', 2n, 0n, 2, 1],
  ['SCMP_CMP_MASKED_EQ', 6n, 4n, 5, 2],
]

describe('linux.seccomp', () => {
  conforms('SCMP_ACT_ERRNO refuses a call, with EPERM or the errno of the rule', async box => {
    expect(await box.see(call(GETPRIORITY, 0, 0))).toBe('20')
    expect(await box.see(call(GETPRIORITY, 0, 0), filter([{ names: ['getpriority'], action: 'SCMP_ACT_ERRNO' }]))).toBe(
      `-${EPERM}`,
    )
    const busy = filter([{ names: ['getpriority'], action: 'SCMP_ACT_ERRNO', errnoRet: EBUSY }])
    expect(await box.see(call(GETPRIORITY, 0, 0), busy)).toBe(`-${EBUSY}`)
  })

  conforms('rules compare arguments with every operator', async box => {
    for (const [op, value, valueTwo, yes, no] of COMPARISONS) {
      const rule = {
        names: ['getpriority'],
        action: 'SCMP_ACT_ERRNO' as const,
        errnoRet: EBUSY,
        args: [{ index: 1, op, value, valueTwo }],
      }
      const see = (argument: number) => box.see(call(GETPRIORITY, 2, argument), filter([rule]))
      expect([op, await see(yes), (await see(no)) === `-${EBUSY}`]).toEqual([op, `-${EBUSY}`, false])
    }
  })

  const ENDINGS: readonly (readonly [action: SeccompAction, signal: number])[] = [
    ['SCMP_ACT_KILL', 31],
    ['SCMP_ACT_KILL_THREAD', 31],
    ['SCMP_ACT_KILL_PROCESS', 31],
    ['SCMP_ACT_TRAP', 31],
  ]

  conforms('SCMP_ACT_KILL, KILL_THREAD, KILL_PROCESS and TRAP end the caller with SIGSYS', async box => {
    for (const [action, signal] of ENDINGS) {
      const { stdout } = await box.run(
        `${call(GETPRIORITY, 0, 0).join(' ')}; echo $?`,
        filter([{ names: ['getpriority'], action }]),
      )
      expect([action, stdout.trim()]).toEqual([action, String(128 + signal)])
    }
  })

  conforms('SCMP_ACT_ALLOW, LOG and TRACE as actions of a rule', async box => {
    const see = (action: SeccompAction) =>
      box.see(call(GETPRIORITY, 0, 0), filter([{ names: ['getpriority'], action }]))
    expect(await see('SCMP_ACT_ALLOW')).toBe('20')
    expect(await see('SCMP_ACT_LOG')).toBe('20')
    // Without a tracer the call is not there.
    expect(await see('SCMP_ACT_TRACE')).toBe('-38')
  })

  conforms('seccomp.defaultAction is for all calls that no rule names, with defaultErrnoRet', async box => {
    const busy = { defaultAction: 'SCMP_ACT_ERRNO' as const, defaultErrnoRet: EBUSY }
    // What a static program and the runtime's last steps need.
    const names =
      'read write writev open openat close fstat newfstatat mmap munmap mprotect brk execve exit exit_group arch_prctl set_tid_address set_robust_list rseq prlimit64 readlink readlinkat getrandom ioctl futex capget capset prctl fcntl fchdir chdir getpid getppid gettid tgkill rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack clone clone3 epoll_pwait epoll_ctl nanosleep sched_yield madvise getcwd stat lstat faccessat faccessat2 access setresuid setresgid setgroups umask dup dup2 dup3 close_range sendmsg recvmsg accept accept4 poll ppoll pipe2 wait4 waitid kill getuid geteuid getgid getegid statx pread64 fstatfs statfs setsid keyctl seccomp getdents64 mount umount2 fchown fchownat lseek unlinkat eventfd2 epoll_create1 restart_syscall'
    const rules = [{ names: names.split(' '), action: 'SCMP_ACT_ALLOW' as const }]
    expect(await box.see(call(PERSONALITY, 0xffffffff), filter(rules, busy))).toBe(`-${EBUSY}`)
  })

  conforms(
    'seccomp.flags are taken',
    async box => {
      const flags = ['SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_SPEC_ALLOW', 'SECCOMP_FILTER_FLAG_TSYNC'] as const
      expect(
        await box.see(
          call(GETPRIORITY, 0, 0),
          filter([{ names: ['getpriority'], action: 'SCMP_ACT_ERRNO' }], { flags }),
        ),
      ).toBe(`-${EPERM}`)
    },
    { notOnRunc: NO_FLAGS },
  )

  conforms('names of calls that this machine does not have are passed over', async box => {
    const names = ['no_such_call', 'getpriority']
    expect(await box.see(call(GETPRIORITY, 0, 0), filter([{ names, action: 'SCMP_ACT_ERRNO' }]))).toBe(`-${EPERM}`)
  })

  conforms('the filter is there without noNewPrivileges too, for root and for another user', async box => {
    for (const uid of [0, 1000]) {
      const change = {
        ...filter([{ names: ['getpriority'], action: 'SCMP_ACT_ERRNO' }]),
        process: { noNewPrivileges: false, user: { uid, gid: uid } },
      }
      expect(await box.see('probe syscall 140 0 0; grep -E "^(Seccomp|NoNewPrivs):" /proc/self/status', change)).toBe(
        `-${EPERM}\nNoNewPrivs:\t0\nSeccomp:\t2`,
      )
    }
  })

  conforms('a process that exec starts has the filter too', async box => {
    await box.started(['sleep', '1000'], filter([{ names: ['getpriority'], action: 'SCMP_ACT_ERRNO' }]))
    expect((await box.ok('exec', box.id, ...call(GETPRIORITY, 0, 0))).trim()).toBe(`-${EPERM}`)
  })

  conforms('SCMP_ACT_NOTIFY hands the listener and the state to the agent, which answers the call', async box => {
    const socket = box.path('agent')
    const agent = await box.probe('agent', socket, String(EBUSY))
    const more = { listenerPath: socket, listenerMetadata: 'told' }
    const seen = await box.see(
      call(GETPRIORITY, 0, 0),
      filter([{ names: ['getpriority'], action: 'SCMP_ACT_NOTIFY' }], more),
    )
    expect(seen).toBe(`-${EBUSY}`)
    const [text = '', connection] = (await agent.rest()).trim().split('\n')
    const { pid, ...told } = JSON.parse(text)
    expect(pid).toBeGreaterThan(1)
    const state = expect.objectContaining({ id: box.id, status: 'creating', bundle: box.bundle, pid })
    expect(told).toMatchObject({ ociVersion: expect.any(String), fds: ['seccompFd'], metadata: 'told', state })
    // runc 1.1 closes it only when it ends.
    if (box.runtime.name === 'berth') expect(connection).toBe('closed')
  })

  conforms('SCMP_ACT_NOTIFY without an agent that listens is an error', async box => {
    const more = { listenerPath: box.path('nobody') }
    expect(await box.refusal(['true'], filter([{ names: ['getpriority'], action: 'SCMP_ACT_NOTIFY' }], more))).toMatch(
      /nobody|seccomp/,
    )
  })

  conforms('unknown actions, operators, architectures and flags are errors that name them', async box => {
    const rule = { names: ['getpriority'], action: 'SCMP_ACT_ERRNO' } as const
    const refusal = (change: object) => box.refusal(['true'], change)
    expect(await refusal(filter([{ ...rule, action: 'SCMP_ACT_SING' as never }]))).toContain('SCMP_ACT_SING')
    expect(
      await refusal(filter([{ ...rule, args: [{ index: 0, value: 1n, op: 'SCMP_CMP_LIKE' as never }] }])),
    ).toContain('SCMP_CMP_LIKE')
    expect(await refusal(filter([rule], { architectures: ['SCMP_ARCH_PDP11' as never] }))).toContain('SCMP_ARCH_PDP11')
    expect(await refusal(filter([rule], { flags: ['SECCOMP_FILTER_FLAG_SLEEP' as never] }))).toMatch(/FLAG_SLEEP|flags/)
  })

  conforms(
    'an errno for an action without one, no names, and metadata without a listener are errors',
    async box => {
      const refusal = (rule: object, more: object = {}) =>
        box.refusal(['true'], filter([{ names: ['getpriority'], action: 'SCMP_ACT_ERRNO', ...rule } as never], more))
      expect(await refusal({ action: 'SCMP_ACT_KILL', errnoRet: 1 })).toContain('errnoRet')
      expect(await refusal({ names: [] })).toContain('names')
      expect(await refusal({}, { listenerMetadata: 'x' })).toContain('listenerMetadata')
    },
    { notOnRunc: 'it takes them' },
  )
})

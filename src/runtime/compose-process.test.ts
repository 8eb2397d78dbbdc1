import { describe, expect, test } from 'bun:test'
import { composed, hostFacts, USER_NAMESPACE } from '../../test/support/composed-container.ts'
import { printed } from '../../test/support/plan-steps.ts'
import { RLIM_INFINITY } from '../linux/rlimits.ts'
import type { Process } from '../oci/runtime-spec.ts'
import type { Linux } from '../oci/runtime-spec-linux.ts'
import type { SeccompFilter } from './compose-credentials.ts'
import type { ContainerInput } from './container-input.ts'

const FILTER: SeccompFilter = { program: new Uint8Array(16), flags: 0, listener: null }
const USER = { user: { uid: 1000, gid: 100, additionalGids: [4, 27] } }

function execOf(process: Partial<Process>, more: Partial<ContainerInput> = {}, filter: SeccompFilter | null = null) {
  return composed({ process }, more, filter).exec
}

function opsOf(steps: ReturnType<typeof execOf>): string[] {
  return steps.map(({ op }) => op)
}

describe('composeCredentials()', () => {
  test('keeps capabilities over the change of user, and only then drops what is not asked for', () => {
    const exec = execOf({ ...USER, capabilities: { effective: ['CAP_KILL'], permitted: ['CAP_KILL'] } })
    expect(printed(exec, 'cap_bound', 'setgroups', 'prctl', 'setresgid', 'setresuid', 'capset', 'cap_ambient')).toEqual(
      [
        'cap_bound(0)',
        'setgroups([4 27])',
        'prctl(PR_SET_KEEPCAPS, 0x1, 0, 0, 0)',
        'setresgid(100)',
        'setresuid(1000)',
        'capset(CAP_KILL, CAP_KILL, 0)',
        'cap_ambient(0)',
      ],
    )
  })

  test('loads seccomp before the last capabilities go when new privileges are allowed: it needs CAP_SYS_ADMIN', () => {
    const exec = execOf({ capabilities: { permitted: ['CAP_KILL'] } }, {}, FILTER)
    expect(opsOf(exec).slice(-4)).toEqual(['seccomp', 'capset', 'cap_ambient', 'execve'])
  })

  test('regains CAP_SYS_ADMIN for seccomp after a change to a user that is not root', () => {
    const exec = execOf({ ...USER, capabilities: { permitted: ['CAP_KILL'] } }, {}, FILTER)
    expect(printed(exec, 'setresuid', 'seccomp', 'capset')).toEqual([
      'setresuid(1000)',
      'capset(CAP_KILL|CAP_SYS_ADMIN, CAP_KILL|CAP_SYS_ADMIN, 0)',
      'seccomp(<2 instructions>, 0x0)',
      'capset(0, CAP_KILL, 0)',
    ])
  })

  test('loads seccomp directly before execve with no_new_privs, so that it need allow nothing else', () => {
    const exec = execOf({ ...USER, noNewPrivileges: true }, { start: 'on request' }, FILTER)
    expect(opsOf(exec).slice(-7)).toEqual(['prctl', 'capset', 'cap_ambient', 'post', 'wait_start', 'seccomp', 'execve'])
  })

  test('hands the listener of seccomp to the agent before anybody waits for start', () => {
    const listener = { socket: '/run/agent.sock', message: '{}' }
    const { exec, parent } = composed(
      { process: { noNewPrivileges: true } },
      { start: 'on request' },
      { ...FILTER, listener },
    )
    expect(printed(exec, 'seccomp', 'send_fd', 'post', 'wait_start')).toEqual([
      'seccomp(<2 instructions>, 0x0) = @seccomp listener',
      'send_fd(@seccomp listener)',
      'post(1)',
      'wait_start(@start socket)',
    ])
    expect(printed(parent, 'recv_fd', 'send_fd_to', 'await')).toEqual([
      'recv_fd() = @seccomp listener',
      'send_fd_to("/run/agent.sock", @seccomp listener, "{}")',
      'await(1)',
    ])
  })

  test('raises as ambient only what the kernel lets be ambient', () => {
    const capabilities = { permitted: ['CAP_KILL'], inheritable: ['CAP_KILL'], ambient: ['CAP_KILL', 'CAP_CHOWN'] }
    expect(printed(execOf({ capabilities }), 'cap_ambient')).toEqual(['cap_ambient(CAP_KILL)'])
  })

  test('goes on where setgroups is denied only when there are no groups to set', () => {
    const setgroups = (process: Partial<Process>) => execOf(process).find(({ op }) => op === 'setgroups')?.tolerate
    expect(setgroups({})).toEqual([1])
    expect(setgroups(USER)).toBeUndefined()
  })
})

describe('composeProcess()', () => {
  test('checks the working directory as the user, when nothing of the host can be behind it (CVE-2024-21626)', () => {
    const exec = execOf({ ...USER, cwd: '/srv' })
    expect(printed(exec, 'chdir', 'setresuid', 'check_cwd', 'access_exec')).toEqual([
      'chdir("/srv")',
      'setresuid(1000)',
      'chdir("/srv")',
      'check_cwd()',
      'access_exec(["/bin/true"])',
    ])
  })

  test('enters the working directory as the user only where root could not', () => {
    const exec = execOf({ cwd: '/srv' })
    const first = exec.findIndex(({ op }) => op === 'chdir')
    expect(exec[first]).toMatchObject({ tolerate: [13], skipOnFailure: 1 })
    expect(exec[first + 1]).toMatchObject({ op: 'open' })
    const again = exec.findLastIndex(({ op }) => op === 'chdir')
    expect(exec[again - 1]).toMatchObject({ op: 'check_type', tolerate: [9], skipOnSuccess: 1 })
  })

  test('lets stdio and the preserved fds reach the program, and no other', () => {
    const stdio = { pipes: [true, false, true], consoleSocket: null, preservedFds: 2 } as const
    expect(printed(execOf(USER, { stdio }), 'chown', 'dup2', 'cloexec_from')).toEqual([
      'chown(@stdin, "", 1000, -1)',
      'dup2(@stdin, 0)',
      'dup2(@stdout, 1)',
      'chown(@stderr, "", 1000, -1)',
      'dup2(@stderr, 2)',
      'dup2(@preserved0, 3)',
      'dup2(@preserved1, 4)',
      'cloexec_from(5)',
    ])
  })

  test('sets limits last, when none can stop what comes before the program', () => {
    const rlimits = [{ type: 'RLIMIT_NOFILE', soft: 1n, hard: RLIM_INFINITY }]
    const exec = execOf({ noNewPrivileges: true, rlimits }, {}, FILTER)
    expect(printed(exec).slice(-3)).toEqual([
      'prlimit(self, RLIMIT_NOFILE, 1, RLIM_INFINITY)',
      'seccomp(<2 instructions>, 0x0)',
      'execve(["/bin/true"], ["/bin/true"], [])',
    ])
  })

  test('refuses a limit that the kernel does not have', () => {
    const rlimits = [{ type: 'RLIMIT_NONE', soft: 1n, hard: 1n }]
    expect(() => execOf({ rlimits })).toThrow('Cannot set limit "RLIMIT_NONE": the kernel has none of that name')
  })

  test('has a keyring of its own unless told otherwise', () => {
    expect(printed(execOf({}), 'keyring')).toEqual(['keyring("_ses.c1")'])
    expect(printed(execOf({}, { newKeyring: false }), 'keyring')).toEqual([])
  })

  test('writes labels through the procfs of the host, checked at each write', () => {
    const apparmor = execOf({ apparmorProfile: 'p' }, { facts: hostFacts({ appArmor: true }) })
    expect(printed(apparmor, 'write_checked')).toEqual([
      'write_checked(@proc of the host, "self/attr/apparmor/exec", proc, "exec p")',
      'write_checked(@proc of the host, "self/attr/exec", proc, "exec p")',
    ])
    expect(apparmor.find(({ op }) => op === 'write_checked')).toMatchObject({ tolerate: [2], skipOnSuccess: 1 })
    const selinux = execOf({ selinuxLabel: 'l' }, { facts: hostFacts({ seLinux: true }) })
    expect(printed(selinux, 'write_checked')).toEqual(['write_checked(@proc of the host, "self/attr/exec", proc, "l")'])
  })

  test('sets personality and memory policy before it gives up its rights', () => {
    const linux: Linux = {
      namespaces: [{ type: 'mount' }],
      personality: { domain: 'LINUX32' },
      memoryPolicy: { mode: 'MPOL_BIND', nodes: '0' },
    }
    const { exec } = composed({ linux })
    expect(printed(exec, 'personality', 'set_mempolicy', 'setresuid').map(line => line.replace(/\(.*/, ''))).toEqual([
      'personality',
      'set_mempolicy',
      'setresuid',
    ])
  })
})

describe('composeForChild()', () => {
  test("raises limits above the launcher's own by the launcher, which has the host's privileges", () => {
    const rlimits = [
      { type: 'RLIMIT_NOFILE', soft: 10n, hard: 4096n },
      { type: 'RLIMIT_CORE', soft: 0n, hard: 0n },
    ]
    const facts = hostFacts({ hardLimits: { RLIMIT_NOFILE: 1024n, RLIMIT_CORE: RLIM_INFINITY } })
    const { parent } = composed({ process: { rlimits } }, { facts })
    expect(printed(parent, 'prlimit')).toEqual(['prlimit(child, RLIMIT_NOFILE, 1024, 4096)'])
  })

  test('sets what needs the launcher before the child goes on', () => {
    const process: Partial<Process> = {
      oomScoreAdj: 500,
      scheduler: { policy: 'SCHED_BATCH' },
      ioPriority: { class: 'IOPRIO_CLASS_IDLE' },
    }
    const { parent } = composed({ process, linux: USER_NAMESPACE })
    expect(
      printed(parent)
        .slice(0, 6)
        .map(line => line.replace(/(?<=attr\(child), .*/, ')')),
    ).toEqual([
      'write_child("uid_map", "0 100000 65536\\n")',
      'write_child("gid_map", "0 100000 65536\\n")',
      'write_child("oom_score_adj", "500")',
      'sched_setattr(child)',
      'ioprio_set(child, 0x6000)',
      'post(1)',
    ])
  })
})

import { describe, expect, test } from 'bun:test'
import { hostFacts, NO_CGROUP, PROCESS, specOf } from '../../test/support/composed-container.ts'
import { printed } from '../../test/support/plan-steps.ts'
import { composeExec, type ExecInput } from './compose-exec.ts'
import { PlanBuilder } from './plan-builder.ts'

const STDIO = { pipes: [false, false, false], consoleSocket: null, preservedFds: 0 } as const

function exec(more: Partial<ExecInput> = {}) {
  const input: ExecInput = {
    process: PROCESS,
    spec: specOf(),
    initPid: 42,
    namespaces: new Set(['mount', 'user', 'network']),
    facts: hostFacts(),
    cgroup: NO_CGROUP,
    stdio: STDIO,
    ending: { kind: 'exit' },
    ...more,
  }
  return composeExec(new PlanBuilder(), input, null)
}

describe('composeExec()', () => {
  test('joins the namespaces of the first process, user first and mount last, and makes none', () => {
    expect(printed(exec().host)).toEqual([
      'open("/proc/42/ns/user", O_RDONLY, 0) = @user namespace',
      'open("/proc/42/ns/net", O_RDONLY, 0) = @network namespace',
      'open("/proc/42/ns/mnt", O_RDONLY, 0) = @mount namespace',
      'clone(0, none, [@user namespace @network namespace @mount namespace])',
    ])
  })

  test('becomes root of a user namespace where root is mapped, and only there', () => {
    const { child } = exec()
    expect(printed(child)).toEqual(['setresgid(0)', 'setresuid(0)'])
    expect(child.map(({ tolerate }) => tolerate)).toEqual([[22], [22]])
    expect(exec({ namespaces: new Set(['mount']) }).child).toEqual([])
  })

  test('ends in the same stage as the first process, without its keyring, its start and its hooks', () => {
    const plan = exec({ spec: specOf({ hooks: { startContainer: [{ path: '/h' }] } }) })
    expect(printed(plan.exec, 'keyring', 'wait_start', 'hook')).toEqual([])
    expect(plan.exec.map(({ op }) => op).slice(-2)).toEqual(['cap_ambient', 'execve'])
  })

  test('opens nothing of the host that a program in the container could find (CVE-2016-9962)', () => {
    expect(printed(exec().host, 'open').filter(line => !line.includes('/proc/42/ns/'))).toEqual([])
    const relay = { kind: 'relay', directory: '/run/berth/c1', startSocket: 's', shimSocket: 'r' } as const
    const { host } = exec({ ending: relay, process: { ...PROCESS, terminal: true } })
    expect(printed(host, 'open', 'listen', 'close').slice(0, 4)).toEqual([
      'open("/run/berth/c1", O_DIRECTORY|O_PATH, 0) = @state directory',
      'listen(@state directory, "s", 0600) = @start socket',
      'listen(@state directory, "r", 0600) = @shim socket',
      'close(@state directory)',
    ])
  })

  test('waits for the one who attaches to its terminal, which the launcher keeps and serves', () => {
    const relay = { kind: 'relay', directory: '/run/berth/c1', startSocket: 's', shimSocket: 'r' } as const
    const plan = exec({ ending: relay, process: { ...PROCESS, terminal: true } })
    expect(printed(plan.exec, 'wait_start')).toEqual(['wait_start(@start socket)'])
    expect(printed(plan.child, 'openat2', 'openpty', 'send_fd')).toEqual([
      'openat2(AT_FDCWD, "/dev/pts", O_DIRECTORY|O_PATH, 0, RESOLVE_NO_MAGICLINKS) = @devpts',
      'openpty(@devpts, 0, 0) = @terminal master, @terminal',
      'send_fd(@terminal master)',
    ])
    expect(printed(plan.parent, 'recv_fd', 'serve').map(line => line.slice(0, 38))).toEqual([
      'recv_fd() = @terminal master',
      'serve(@shim socket, @terminal master, ',
    ])
  })

  test('changes CPUs before and after it joins the cgroup', () => {
    const process = { ...PROCESS, execCPUAffinity: { initial: '0', final: '1' } }
    const { host, child } = exec({ process })
    expect(host[0]).toMatchObject({ op: 'sched_setaffinity', why: expect.stringContaining('initial') })
    expect(child.at(-1)).toMatchObject({ op: 'sched_setaffinity', why: expect.stringContaining('final') })
  })

  test('needs the procfs of the host for labels only', () => {
    const process = { ...PROCESS, apparmorProfile: 'p' }
    const { host } = exec({ process, facts: hostFacts({ appArmor: true }) })
    expect(printed(host, 'check_fs')).toEqual(['check_fs(@proc of the host, proc)'])
    expect(printed(exec().host, 'check_fs')).toEqual([])
  })

  test('waits for its end when told so', () => {
    expect(exec({ ending: { kind: 'wait' } }).parent.map(({ op }) => op)).toEqual(['wait_child'])
  })
})

import { describe, expect, test } from 'bun:test'
import { composed, hostFacts, NO_CGROUP, USER_NAMESPACE } from '../../test/support/composed-container.ts'
import { printed } from '../../test/support/plan-steps.ts'
import { step } from '../plan/step.ts'

describe('composeNamespaces()', () => {
  test('makes all new namespaces by the flags of one clone', () => {
    const namespaces = (['user', 'pid', 'ipc', 'uts', 'network', 'cgroup', 'mount'] as const).map(type => ({ type }))
    expect(printed(composed({ linux: { ...USER_NAMESPACE, namespaces } }).host, 'clone')).toEqual([
      'clone(CLONE_NEWNS|CLONE_NEWCGROUP|CLONE_NEWUTS|CLONE_NEWIPC|CLONE_NEWUSER|CLONE_NEWPID|CLONE_NEWNET, none, [])',
    ])
  })

  test('joins user first, whose capabilities permit the others, and mount last, since paths come before it', () => {
    const namespaces = (['mount', 'network', 'user'] as const).map(type => ({ type, path: `/ns/${type}` }))
    const { host, child, parent } = composed({ linux: { namespaces: [...namespaces, { type: 'pid' }] } })
    expect(printed(host).filter(line => /namespace|clone/.test(line))).toEqual(
      [
        'open("/ns/user", O_RDONLY) = @user namespace',
        'open("/ns/network", O_RDONLY) = @network namespace',
        'open("/ns/mount", O_RDONLY) = @mount namespace',
        'clone(CLONE_NEWPID, none, [@user namespace @network namespace @mount namespace])',
      ].map(line => line.replace('O_RDONLY)', 'O_RDONLY, 0)')),
    )
    expect(printed(parent, 'write_child')).toEqual([])
    expect(child.find(({ op }) => op === 'setresuid')?.tolerate).toEqual([22])
  })

  test('treats an empty path as a new namespace', () => {
    const namespaces = [{ type: 'mount', path: '' }] as const
    expect(printed(composed({ linux: { namespaces } }).host, 'clone')).toEqual(['clone(CLONE_NEWNS, none, [])'])
  })

  test('sets clock offsets while the time namespace is empty, and gives the launcher its own clocks back', () => {
    const timeOffsets = { boottime: { secs: 100n, nanosecs: 5 }, monotonic: { secs: -3n } }
    const namespaces = [{ type: 'mount' }, { type: 'time' }] as const
    const { host, parent } = composed({ linux: { namespaces, timeOffsets } })
    expect(printed(host).filter(line => /time namespace|TIME|timens|clone/.test(line))).toEqual([
      'open("/proc/self/ns/time", O_RDONLY, 0) = @own time namespace',
      'unshare(CLONE_NEWTIME)',
      'write(AT_FDCWD, "/proc/self/timens_offsets", "boottime 100 5\\nmonotonic -3 0\\n")',
      'clone(CLONE_NEWNS, none, [])',
    ])
    expect(printed(parent)[0]).toBe('setns(@own time namespace, CLONE_NEWTIME)')
  })

  test('lets the child act as root only when its ids are mapped', () => {
    const { parent, child } = composed({ linux: USER_NAMESPACE })
    expect(printed(parent).slice(0, 3)).toEqual([
      'write_child("uid_map", "0 100000 65536\\n")',
      'write_child("gid_map", "0 100000 65536\\n")',
      'post(1)',
    ])
    expect(printed(child).slice(0, 3)).toEqual(['await(1)', 'setresgid(0)', 'setresuid(0)'])
  })

  test('does not become root where the maps have none', () => {
    const uidMappings = [{ containerID: 1000, hostID: 1000, size: 1 }]
    const { child } = composed({ linux: { ...USER_NAMESPACE, uidMappings } })
    expect(printed(child, 'setresgid', 'setresuid')).toEqual(['setresgid(0)'])
  })

  test('has the maps written by newuidmap where the launcher has no privileges', () => {
    const { parent } = composed({ linux: USER_NAMESPACE }, { facts: hostFacts({ privileged: false }) })
    expect(printed(parent).slice(0, 2)).toEqual(['ask(2)', 'post(1)'])
    expect(printed(parent, 'write_child')).toEqual([])
  })

  test('makes the cgroup namespace after the child has joined its cgroup, which becomes the root of it', () => {
    const join = step('write', { dir: null, path: '/tasks', data: '0' }, 'join')
    const cgroup = { ...NO_CGROUP, child: [join], unshareInChild: true }
    const namespaces = [{ type: 'mount' }, { type: 'cgroup' }] as const
    const { host, child } = composed({ linux: { namespaces } }, { cgroup })
    expect(printed(host, 'clone')).toEqual(['clone(CLONE_NEWNS, none, [])'])
    expect(printed(child, 'write', 'unshare')).toEqual(['write(AT_FDCWD, "/tasks", "0")', 'unshare(CLONE_NEWCGROUP)'])
  })

  test('has systemd make the scope before the child goes on', () => {
    const cgroup = { ...NO_CGROUP, viaSystemd: true, unshareInChild: true }
    expect(printed(composed({}, { cgroup }).parent)).toEqual(['ask(1)', 'post(1)', 'ask(3)'])
  })
})

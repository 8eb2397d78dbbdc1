import { describe, expect, test } from 'bun:test'
import { parseCgroupMounts, parseProcCgroup } from './hierarchies.ts'

describe('parseProcCgroup()', () => {
  test('reads v1, named and v2 lines, and paths with colons', () => {
    expect(parseProcCgroup('4:cpu,cpuacct:/a\n1:name=systemd:/x:y\n0::/user.slice\n')).toEqual([
      { controllers: ['cpu', 'cpuacct'], path: '/a' },
      { controllers: ['name=systemd'], path: '/x:y' },
      { controllers: [], path: '/user.slice' },
    ])
  })
  test('rejects a malformed line', () => expect(() => parseProcCgroup('nonsense')).toThrow('"nonsense"'))
})

describe('parseCgroupMounts()', () => {
  test('finds cgroup mounts, optional fields and escapes notwithstanding', () => {
    const text = [
      '31 23 0:28 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755',
      '32 31 0:29 / /sys/fs/cgroup/cpu\\040acct rw,nosuid shared:10 master:2 - cgroup cgroup rw,cpu,cpuacct,clone_children',
      '40 31 0:37 /docker/x /sys/fs/cgroup/systemd ro - cgroup cgroup rw,xattr,name=systemd',
      '41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate',
    ].join('\n')
    expect(parseCgroupMounts(text)).toEqual([
      {
        version: 1,
        controllers: ['cpu', 'cpuacct'],
        mountPoint: '/sys/fs/cgroup/cpu acct',
        root: '/',
        readOnly: false,
      },
      {
        version: 1,
        controllers: ['name=systemd'],
        mountPoint: '/sys/fs/cgroup/systemd',
        root: '/docker/x',
        readOnly: true,
      },
      { version: 2, controllers: [], mountPoint: '/sys/fs/cgroup/unified', root: '/', readOnly: false },
    ])
  })
})

import { describe, expect, test } from 'bun:test'
import { readLayout } from './layout.ts'
import { directoryFor, directoryOf, isUnified, resolveCgroupPath } from './location.ts'

const V2_MOUNT = '30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate'
const CPU_MOUNT = '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct'
const MEMORY_MOUNT = '33 31 0:30 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory'
const SYSTEMD_MOUNT = '34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd'
const UNIFIED_MOUNT = '35 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw'
const ELSEWHERE = '36 31 0:29 / /mnt/cpu rw - cgroup cgroup rw,cpu,cpuacct'

const unified = readLayout(V2_MOUNT, '0::/user.slice/a.scope\n', () => 'cpu memory pids\n')
const hybrid = readLayout(
  [ELSEWHERE, CPU_MOUNT, MEMORY_MOUNT, SYSTEMD_MOUNT, UNIFIED_MOUNT].join('\n'),
  '3:cpu,cpuacct:/own\n2:memory:/docker/x/y\n1:name=systemd:/\n0::/\n',
  () => 'hugetlb\n',
)

function dirs(
  layout: typeof unified,
  path: string | undefined,
  manager: 'cgroupfs' | 'systemd' = 'cgroupfs',
): string[] {
  return resolveCgroupPath(layout, path, 'id', manager).directories.map(({ dir }) => dir)
}

describe('readLayout()', () => {
  test('knows v2, v1 and hybrid', () => {
    expect(unified.mode).toBe('v2')
    expect(hybrid.mode).toBe('hybrid')
    expect(readLayout(CPU_MOUNT, '', () => '').mode).toBe('v1')
  })
  test('prefers the usual mount point of a hierarchy that is mounted twice', () => {
    expect(hybrid.hierarchies[0]).toEqual({
      version: 1,
      controllers: ['cpu', 'cpuacct'],
      mountPoint: '/sys/fs/cgroup/cpu,cpuacct',
      root: '/',
      own: '/own',
    })
  })
  test('leaves out a named v1 hierarchy beside v2', () => {
    const layout = readLayout(`${V2_MOUNT}\n${SYSTEMD_MOUNT}`, '0::/\n', () => '')
    expect(layout.hierarchies.map(({ version }) => version)).toEqual([2])
  })
  test('throws unavailable without any', () =>
    expect(() => readLayout('', '', () => '')).toThrow('no cgroup filesystem'))
})

describe('resolveCgroupPath()', () => {
  test('counts an absolute path from the mount points', () => {
    expect(dirs(unified, '/a//b/')).toEqual(['/sys/fs/cgroup/a/b'])
    expect(dirs(hybrid, '/a')).toEqual([
      '/sys/fs/cgroup/cpu,cpuacct/a',
      '/sys/fs/cgroup/memory/a',
      '/sys/fs/cgroup/systemd/a',
      '/sys/fs/cgroup/unified/a',
    ])
  })
  test('counts a relative path, and the id, from the own cgroup on v1 and its parent on v2', () => {
    expect(dirs(unified, undefined)).toEqual(['/sys/fs/cgroup/user.slice/id'])
    expect(dirs(hybrid, 'r')).toEqual([
      '/sys/fs/cgroup/cpu,cpuacct/own/r',
      '/sys/fs/cgroup/memory/y/r',
      '/sys/fs/cgroup/systemd/r',
      '/sys/fs/cgroup/unified/r',
    ])
  })
  test('expands the slice for systemd', () => {
    expect(dirs(unified, 'a-b.slice:p:n', 'systemd')).toEqual(['/sys/fs/cgroup/a.slice/a-b.slice/p-n.scope'])
    expect(dirs(unified, undefined, 'systemd')).toEqual(['/sys/fs/cgroup/system.slice/berth-id.scope'])
  })
  test("finds a user's slice below the cgroup of the user's instance", () => {
    const place = { bus: 'user', controlGroup: '/user.slice/user@1.service' } as const
    expect(resolveCgroupPath(unified, '', 'id', 'systemd', place).directories[0]?.dir).toBe(
      '/sys/fs/cgroup/user.slice/user@1.service/user.slice/berth-id.scope',
    )
    expect(() => resolveCgroupPath(hybrid, '', 'id', 'systemd', place)).toThrow('expected v2')
  })
  for (const path of ['..', '/a/../b', '../x', 'a/..', '/', '//', 'a\nb']) {
    test(`rejects ${JSON.stringify(path)}`, () => {
      expect(() => resolveCgroupPath(unified, path, 'id', 'cgroupfs')).toThrow('Cannot use cgroupsPath')
    })
  }
})

describe('directoryFor()', () => {
  test('finds controllers on either side of a hybrid host', () => {
    const location = resolveCgroupPath(hybrid, '/a', 'id', 'cgroupfs')
    expect(directoryFor(location, 'cpuacct')?.dir).toBe('/sys/fs/cgroup/cpu,cpuacct/a')
    expect(directoryFor(location, 'hugetlb')?.dir).toBe('/sys/fs/cgroup/unified/a')
    expect(directoryFor(location, 'rdma')).toBeUndefined()
    expect(isUnified(location)).toBe(false)
  })
})

describe('directoryOf()', () => {
  test('takes off the part of the hierarchy that is mounted', () => {
    const hierarchy = { version: 1, controllers: [], mountPoint: '/m', root: '/docker/x', own: '/' } as const
    expect(directoryOf(hierarchy, '/docker/x')).toBe('/m')
    expect(directoryOf(hierarchy, '/docker/x/y')).toBe('/m/y')
    expect(directoryOf(hierarchy, '/docker/xy')).toBeUndefined()
    expect(directoryOf({ ...hierarchy, root: '/' }, '/../a')).toBeUndefined()
  })
})

import { describe, expect, test } from 'bun:test'
import { composed, hostFacts, type SpecParts, USER_NAMESPACE } from '../../test/support/composed-container.ts'
import { printed } from '../../test/support/plan-steps.ts'
import type { Device } from '../oci/runtime-spec-linux.ts'

const DISK: Device = { type: 'b', path: '/dev/sda', major: 8, minor: 0, fileMode: 0o660, gid: 6 }
const FIFO: Device = { type: 'p', path: '/run/fifo' }

function withDevices(devices: readonly Device[], parts: SpecParts = {}, privileged = true) {
  const linux = { namespaces: [{ type: 'mount' }], ...parts.linux, devices } as const
  return composed({ ...parts, linux }, { facts: hostFacts({ privileged }) })
}

describe('composeDevices()', () => {
  test('makes the default devices and those of the config, which come in place of default ones', () => {
    const { child } = withDevices([DISK, { type: 'c', path: '/dev/null', major: 1, minor: 3, fileMode: 0o600 }, FIFO])
    expect(printed(child, 'mknod')).toEqual([
      'mknod(@root, "/dev/zero", S_IFCHR, 0666, 1, 5, 0, 0)',
      'mknod(@root, "/dev/full", S_IFCHR, 0666, 1, 7, 0, 0)',
      'mknod(@root, "/dev/random", S_IFCHR, 0666, 1, 8, 0, 0)',
      'mknod(@root, "/dev/urandom", S_IFCHR, 0666, 1, 9, 0, 0)',
      'mknod(@root, "/dev/tty", S_IFCHR, 0666, 5, 0, 0, 0)',
      'mknod(@root, "/dev/sda", S_IFBLK, 0660, 8, 0, 0, 6)',
      'mknod(@root, "/dev/null", S_IFCHR, 0600, 1, 3, 0, 0)',
      'mknod(@root, "/run/fifo", S_IFIFO, 0666, 0, 0, 0, 0)',
    ])
  })

  test("shows the host's nodes in a user namespace, where mknod is refused, checked to be the devices asked for", () => {
    const { host, child } = withDevices([DISK], { linux: USER_NAMESPACE })
    expect(printed(host).filter(line => line.includes('@/dev/sda'))).toEqual([
      'open_tree(AT_FDCWD, "/dev/sda", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = @/dev/sda',
      'check_type(@/dev/sda, S_IFBLK, 8, 0)',
    ])
    expect(printed(child, 'mknod')).toEqual([])
    expect(printed(child, 'move_mount').filter(line => line.includes('@/dev/'))).toHaveLength(7)
  })

  test('makes a FIFO anywhere: it is no device of the host', () => {
    const { child } = withDevices([FIFO], { linux: USER_NAMESPACE })
    expect(printed(child, 'mknod')).toEqual(['mknod(@root, "/run/fifo", S_IFIFO, 0666, 0, 0, 0, 0)'])
  })

  test('has the child take the nodes where the launcher has no privileges', () => {
    const { host, child } = withDevices([], { linux: USER_NAMESPACE }, false)
    expect(printed(host, 'open_tree')).toEqual([])
    expect(printed(child, 'open_tree').filter(line => line.includes('"/dev/'))).toHaveLength(6)
  })

  test('refuses a device to be shown without its number, since nothing could be checked', () => {
    const device: Device = { type: 'c', path: '/dev/x', major: 1 }
    expect(() => withDevices([device], { linux: USER_NAMESPACE })).toThrow(
      'Cannot make the device "/dev/x": it has no major and minor number',
    )
  })

  test.each([
    { destination: '/dev', source: '/dev', options: ['rbind'] },
    { destination: '//dev/', source: '/dev', type: 'bind' },
  ])('makes nothing in a /dev that is bound: that would change the host', mount => {
    const { child } = withDevices([], { mounts: [mount] })
    expect(printed(child, 'mknod', 'symlink')).toEqual([])
  })

  test('links what programs expect in /dev, /dev/core only where there is a /proc/kcore', () => {
    expect(printed(withDevices([]).child, 'symlink')).toEqual([
      'symlink("/proc/self/fd", @root, "/dev/fd")',
      'symlink("/proc/self/fd/0", @root, "/dev/stdin")',
      'symlink("/proc/self/fd/1", @root, "/dev/stdout")',
      'symlink("/proc/self/fd/2", @root, "/dev/stderr")',
      'symlink("pts/ptmx", @root, "/dev/ptmx")',
    ])
    const { child } = composed({}, { facts: hostFacts({ kcore: true }) })
    expect(printed(child, 'symlink').at(-1)).toBe('symlink("/proc/kcore", @root, "/dev/core")')
  })
})

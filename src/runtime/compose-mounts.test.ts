import { describe, expect, test } from 'bun:test'
import { composed, hostFacts, USER_NAMESPACE } from '../../test/support/composed-container.ts'
import { printed } from '../../test/support/plan-steps.ts'
import type { Mount } from '../oci/runtime-spec.ts'
import type { ContainerInput } from './container-input.ts'

const facts = hostFacts({ directories: new Set(['/src']) })
const BIND: Mount = { destination: '/data', source: '/src', options: ['bind'] }
const BY_FD = 'MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH'

function mounts(mount: Mount, more: Partial<ContainerInput> = {}, linux = {}) {
  return composed({ mounts: [mount], linux: { namespaces: [{ type: 'mount' }], ...linux } }, { facts, ...more })
}

/** The steps that have to do with the fds of one mount. */
function about(steps: Parameters<typeof printed>[0], name: string): string[] {
  return printed(steps).filter(line => line.includes(`@${name}`) || line.includes(`@target of ${name}`))
}

describe('composeMounts() of a bind mount', () => {
  test('takes the source in the launcher, and mounts it in the child by fd', () => {
    const { host, child } = mounts({ ...BIND, options: ['rbind', 'ro', 'nosuid'] })
    expect(about(host, '/data')).toEqual([
      'open_tree(AT_FDCWD, "/src", OPEN_TREE_CLONE|AT_RECURSIVE|OPEN_TREE_CLOEXEC) = @/data',
      'mount_setattr(@/data, "", AT_EMPTY_PATH|AT_RECURSIVE, 0, 0, MS_SLAVE, none)',
      'mount_setattr(@/data, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID, 0, 0, none)',
    ])
    expect(about(child, '/data')).toEqual([
      'mkdirs(@root, "/data", 0755) = @target of /data',
      `move_mount(@/data, @target of /data, "", ${BY_FD})`,
    ])
  })

  test('makes a file of anything but a directory, and takes a relative source from the bundle', () => {
    const { host, child } = mounts({ ...BIND, source: 'hosts' })
    expect(about(host, '/data')[0]).toStartWith('open_tree(AT_FDCWD, "/bundle/hosts", ')
    expect(about(child, '/data')[0]).toBe('mkfile(@root, "/data", 0644) = @target of /data')
  })

  test('cuts the clone off from its peers, else mounts of the container would appear on the host', () => {
    expect(about(mounts(BIND).host, '/data')[1]).toContain('AT_EMPTY_PATH, 0, 0, MS_SLAVE')
    expect(about(mounts({ ...BIND, options: ['bind', 'rshared'] }).host, '/data')[1]).toContain(
      'AT_EMPTY_PATH|AT_RECURSIVE, 0, 0, MS_SHARED',
    )
  })

  test('changes the whole tree first and the mount after, so that the mount can differ', () => {
    const { host } = mounts({ ...BIND, options: ['rbind', 'rro', 'rw'] })
    expect(about(host, '/data').slice(2)).toEqual([
      'mount_setattr(@/data, "", AT_EMPTY_PATH|AT_RECURSIVE, MOUNT_ATTR_RDONLY, 0, 0, none)',
      'mount_setattr(@/data, "", AT_EMPTY_PATH, 0, MOUNT_ATTR_RDONLY, 0, none)',
    ])
  })

  test('is taken by the child where the launcher has no privileges', () => {
    const { host, child } = mounts(BIND, { facts: { ...facts, privileged: false } })
    expect(about(host, '/data')).toEqual([])
    expect(about(child, '/data')[0]).toStartWith('open_tree(AT_FDCWD, "/src", ')
  })

  test('without a source is refused', () => {
    expect(() => mounts({ destination: '/data', options: ['bind'] })).toThrow(
      'Cannot bind at "/data": the mount has no source',
    )
  })
})

describe('composeMounts() of an idmapped mount', () => {
  const ids = [{ containerID: 0, hostID: 1000, size: 1 }]

  test('with mappings makes a user namespace that carries them, before the child', () => {
    const { host } = mounts({ ...BIND, uidMappings: ids, gidMappings: ids })
    expect(printed(host, 'userns')).toEqual(['userns("0 1000 1\\n", "0 1000 1\\n") = @ids of /data'])
    expect(about(host, '/data').at(-1)).toBe(
      'mount_setattr(@/data, "", AT_EMPTY_PATH, MOUNT_ATTR_IDMAP, 0, 0, @ids of /data)',
    )
  })

  test("without mappings takes the container's user namespace, and so the mount comes when the child exists", () => {
    const { host, parent, child } = mounts({ ...BIND, options: ['rbind', 'ridmap'] }, {}, USER_NAMESPACE)
    expect(about(host, '/data')).toEqual([])
    expect(printed(parent, 'write_child', 'open_child')).toEqual([
      'write_child("uid_map", "0 100000 65536\\n")',
      'write_child("gid_map", "0 100000 65536\\n")',
      'open_child("ns/user", O_RDONLY) = @user namespace',
    ])
    expect(about(parent, '/data').slice(-2)).toEqual([
      'mount_setattr(@/data, "", AT_EMPTY_PATH|AT_RECURSIVE, MOUNT_ATTR_IDMAP, 0, 0, @user namespace)',
      'send_fd(@/data)',
    ])
    expect(about(child, '/data')[0]).toBe('recv_fd() = @/data')
  })

  test('without mappings and without a user namespace is refused', () => {
    expect(() => mounts({ ...BIND, options: ['bind', 'idmap'] })).toThrow(
      'Cannot idmap the mount at "/data": it has no mappings and the container no user namespace',
    )
  })
})

describe('composeMounts() of a filesystem', () => {
  test('makes it detached with its attributes, and mounts it by fd', () => {
    const { child } = mounts({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'size=64k'] })
    expect(about(child, '/tmp')).toEqual([
      'mkdirs(@root, "/tmp", 0755) = @target of /tmp',
      'mount_fs("tmpfs", "tmpfs", ["size=64k"], MOUNT_ATTR_NOSUID) = @/tmp',
      `move_mount(@/tmp, @target of /tmp, "", ${BY_FD})`,
    ])
  })

  test('makes a tmpfs read-only at the end, after what else is mounted in it', () => {
    const inner: Mount = { destination: '/a/b', type: 'tmpfs' }
    const { child } = composed({ mounts: [{ destination: '/a', type: 'tmpfs', options: ['ro'] }, inner] })
    const lines = printed(child)
    const readOnly = lines.indexOf('mount_setattr(@/a, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0, none)')
    expect(readOnly).toBeGreaterThan(lines.findIndex(line => line.startsWith('move_mount(@/a/b,')))
    expect(readOnly).toBeLessThan(lines.findIndex(line => line.startsWith('pivot_root(')))
    expect(lines.find(line => line.startsWith('mount_fs("tmpfs"'))).toBe('mount_fs("tmpfs", "tmpfs", [], 0) = @/a')
  })

  test.each(['proc', 'sysfs'])('mounts %s at a real directory only, no link of the image (CVE-2019-19921)', type => {
    const { child } = mounts({ destination: '/there', type })
    const lines = about(child, '/there')
    expect(lines[0]).toBe(
      'openat2(@root, "/there", O_DIRECTORY|O_NOFOLLOW|O_PATH, 0, RESOLVE_NO_MAGICLINKS|RESOLVE_NO_SYMLINKS|RESOLVE_IN_ROOT) = @target of /there',
    )
    expect(printed(child, 'mkdirs').filter(line => line.includes('/there'))).toEqual([])
  })

  test('copies what the image has there before it is covered (tmpcopyup)', () => {
    const { child } = mounts({ destination: '/etc', type: 'tmpfs', options: ['tmpcopyup'] })
    expect(printed(child, 'openat2', 'copy_tree', 'move_mount').slice(1)).toEqual([
      'openat2(@root, "/etc", O_RDONLY|O_DIRECTORY, 0, RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT) = @content of /etc',
      'copy_tree(@content of /etc, @/etc)',
      `move_mount(@/etc, @target of /etc, "", ${BY_FD})`,
    ])
  })

  test('goes through mount(2) for what fsconfig(2) has no name for', () => {
    const { child } = mounts({
      destination: '/x',
      type: 'ext4',
      source: '/dev/vda',
      options: ['iversion', 'nodev', 'a=b'],
    })
    expect(about(child, '/x')).toEqual([
      'mkdirs(@root, "/x", 0755) = @target of /x',
      'mount("/dev/vda", @target of /x, "ext4", MS_I_VERSION, "a=b")',
      'mkdirs(@root, "/x", 0755) = @/x',
      'mount_setattr(@/x, "", AT_EMPTY_PATH, MOUNT_ATTR_NODEV, 0, 0, none)',
    ])
  })

  test('labels its files where SELinux does not do so itself', () => {
    const context = { namespaces: [{ type: 'mount' }], mountLabel: 'system_u:object_r:t:s0:c1,c2' } as const
    const more = { facts: hostFacts({ seLinux: true }) }
    expect(printed(mounts({ destination: '/t', type: 'tmpfs' }, more, context).child, 'mount_fs')).toEqual([
      'mount_fs("tmpfs", "tmpfs", ["context=system_u:object_r:t:s0:c1,c2"], 0) = @/t',
    ])
    expect(printed(mounts({ destination: '/proc', type: 'proc' }, more, context).child, 'mount_fs')).toEqual([
      'mount_fs("proc", "proc", [], 0) = @/proc',
    ])
  })

  test('refuses an option longer than fsconfig(2) takes', () => {
    const options = [`x=${'y'.repeat(300)}`]
    expect(() => mounts({ destination: '/t', type: 'tmpfs', options })).toThrow('an option is longer than 255 bytes')
  })
})

describe('composeMounts() of a remount', () => {
  test('changes the attributes of the mount that is there', () => {
    const { child } = mounts({ destination: '/x', options: ['remount', 'bind', 'ro'] })
    expect(about(child, '/x')).toEqual([
      'mkdirs(@root, "/x", 0755) = @target of /x',
      'mount_setattr(@target of /x, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0, none)',
    ])
  })

  test('changes the filesystem first, since mount(2) sets the attributes of the mount too', () => {
    const { child } = mounts({ destination: '/x', options: ['remount', 'size=1m'] })
    expect(
      about(child, '/x')
        .slice(1)
        .map(line => line.replace(/\(.*/, '')),
    ).toEqual(['mount', 'mount_setattr'])
  })
})

describe('composeMounts() inside /proc', () => {
  test.each(['/proc/self', '/proc/1/attr', '/proc/cpuinfo/x', '//proc//sys', '/x/../proc/fd', '/proc/./kcore'])(
    'refuses a mount at %s, which could forge what the kernel says of the container',
    destination => {
      expect(() => mounts({ ...BIND, destination })).toThrow('it is inside /proc, expected one of /proc/cpuinfo')
    },
  )

  test('lets files that only inform be replaced, by a bind mount', () => {
    expect(() => mounts({ ...BIND, destination: '/proc/meminfo' })).not.toThrow()
    expect(() => mounts({ destination: '/proc/meminfo', type: 'tmpfs' })).toThrow('Cannot mount at "/proc/meminfo"')
  })

  test('mounts nothing at /proc itself that is not procfs', () => {
    expect(() => mounts({ destination: '/proc/', type: 'tmpfs' })).toThrow('Cannot mount tmpfs at "/proc"')
    expect(printed(mounts({ ...BIND, destination: '//proc' }).host, 'check_fs')).toContain('check_fs(@/proc, proc)')
  })
})

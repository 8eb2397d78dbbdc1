import { describe, expect, test } from 'bun:test'
import { composed, USER_NAMESPACE } from '../../test/support/composed-container.ts'
import { printed } from '../../test/support/plan-steps.ts'

const LINUX = { ...USER_NAMESPACE }

describe('a served root', () => {
  const root = { kind: 'served', namespace: '/c/fuse.namespace', path: '/c/fuse/root' } as const

  test('is taken from the mount namespace of its server, and leaves no mount of it there', () => {
    const { host } = composed({ linux: LINUX }, { root })
    const steps = printed(host)
    const first = steps.findIndex(line => line.startsWith('open("/c/fuse.namespace"'))
    expect(steps.slice(first, first + 10)).toEqual([
      'open("/c/fuse.namespace", O_RDONLY, 0) = @server\'s mount namespace',
      "setns(@server's mount namespace, CLONE_NEWNS)",
      'open_tree(AT_FDCWD, "/c/fuse/root", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = @root',
      'check_fs(@root, fuse)',
      'umount("/c/fuse/root", MNT_DETACH)',
      'setns(@own mount namespace, CLONE_NEWNS)',
      'fchdir(@own root directory)',
      'chroot(".")',
      'fchdir(@own working directory)',
      "close(@server's mount namespace)",
    ])
  })
})

describe('an idmapped root', () => {
  test("shows the files' owners as the container's ids, and is handed over", () => {
    const { host, parent, child } = composed({ linux: LINUX }, { root: { kind: 'idmapped', path: '/c/root' } })
    expect(printed(host).filter(line => line.includes('@root'))).toEqual([])
    expect(printed(parent).filter(line => line.includes('@root'))).toEqual([
      'open_tree(AT_FDCWD, "/c/root", OPEN_TREE_CLONE|AT_SYMLINK_NOFOLLOW|OPEN_TREE_CLOEXEC) = @root',
      'check_type(@root, S_IFDIR, -1, -1)',
      'mount_setattr(@root, "", AT_EMPTY_PATH, MOUNT_ATTR_IDMAP, 0, MS_SLAVE, @user namespace)',
      'send_fd(@root)',
    ])
    expect(printed(child, 'recv_fd')).toEqual(['recv_fd() = @root'])
  })
})

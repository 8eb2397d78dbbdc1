import { describe, expect, test } from 'bun:test'
import { composed, hostFacts, type SpecParts, USER_NAMESPACE } from '../../test/support/composed-container.ts'
import { printed } from '../../test/support/plan-steps.ts'
import type { ContainerInput, RootSource } from './container-input.ts'

const OVERLAY: RootSource = { kind: 'overlay', lowers: ['/top', '/base'], upper: '/c/upper', work: '/c/work' }
const rootless = hostFacts({ privileged: false })

function ofRoot(more: Partial<ContainerInput> = {}, parts: SpecParts = {}) {
  return composed({ linux: { namespaces: [{ type: 'mount' }] }, ...parts }, more)
}

describe('a root directory', () => {
  test('is a detached mount whose own mounts stay away from the host, by the last component as it is', () => {
    expect(printed(ofRoot().host).filter(line => line.includes('@root'))).toEqual([
      'open_tree(AT_FDCWD, "/bundle/rootfs", OPEN_TREE_CLONE|AT_SYMLINK_NOFOLLOW|AT_RECURSIVE|OPEN_TREE_CLOEXEC) = @root',
      'check_type(@root, S_IFDIR, -1, -1)',
      'mount_setattr(@root, "", AT_EMPTY_PATH|AT_RECURSIVE, 0, 0, MS_SLAVE, none)',
    ])
  })

  test('is taken by the child where the launcher has no privileges', () => {
    const { host, child } = ofRoot({ facts: rootless }, { linux: USER_NAMESPACE })
    expect(printed(host, 'open_tree')).toEqual([])
    expect(printed(child, 'open_tree')[0]).toStartWith('open_tree(AT_FDCWD, "/bundle/rootfs", ')
  })
})

describe('an overlay', () => {
  test('has its layers read-only, topmost first, and the own directories over them', () => {
    const { host } = ofRoot({ root: OVERLAY })
    expect(printed(host).slice(2, -1)).toEqual([
      'open_tree(AT_FDCWD, "/top", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = @layer0',
      'mount_setattr(@layer0, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, MS_PRIVATE, none)',
      'open_tree(AT_FDCWD, "/base", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = @layer1',
      'mount_setattr(@layer1, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, MS_PRIVATE, none)',
      'open("/c/upper", O_DIRECTORY|O_PATH, 0) = @upper /c/upper',
      'open("/c/work", O_DIRECTORY|O_PATH, 0) = @work /c/work',
      'mount_overlay(0, [@layer0 @layer1], @upper /c/upper, @work /c/work, ["source=overlay"], 0) = @root',
    ])
  })

  test("mounts a layer's image where a directory is taken, and treats what it holds the same", () => {
    const root = { ...OVERLAY, lowers: ['/l/layer.erofs', '/base'] }
    const { parent } = ofRoot({ root }, { linux: USER_NAMESPACE })
    expect(printed(parent).filter(line => line.includes('@layer0'))).toEqual([
      'open("/l/layer.erofs", O_NOFOLLOW|O_PATH, 0) = @layer0',
      'mount_image("erofs", @layer0, [], MOUNT_ATTR_RDONLY) = @layer0',
      'mount_setattr(@layer0, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY|MOUNT_ATTR_IDMAP, 0, MS_PRIVATE, @user namespace)',
      'mount_overlay(0, [@layer0 @layer1], @upper /c/upper, @work /c/work, ["source=overlay"], 0) = @root',
    ])
  })

  test("comes after the child where its ids are the container's, and is handed over", () => {
    const { host, parent, child } = ofRoot({ root: OVERLAY }, { linux: USER_NAMESPACE })
    expect(printed(host, 'mount_overlay')).toEqual([])
    expect(printed(parent, 'mount_setattr')[0]).toContain('MOUNT_ATTR_RDONLY|MOUNT_ATTR_IDMAP, 0, MS_PRIVATE, @user')
    expect(printed(parent, 'send_fd')).toEqual(['send_fd(@root)'])
    expect(printed(child, 'recv_fd', 'move_mount')[0]).toBe('recv_fd() = @root')
  })

  test('has its layers attached where nobody sees them before Linux 6.15, and the launcher comes back', () => {
    const { host } = ofRoot({ root: OVERLAY, facts: hostFacts({ kernel: [6, 14] }) })
    expect(printed(host, 'unshare', 'move_mount', 'mount_overlay', 'setns', 'fchdir', 'chroot')).toEqual([
      'unshare(CLONE_NEWNS)',
      'move_mount(@layer0, AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH)',
      'move_mount(@layer1, AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH)',
      'mount_overlay(0, [@layer0 @layer1], @upper /c/upper, @work /c/work, ["source=overlay"], 0) = @root',
      'setns(@own mount namespace, CLONE_NEWNS)',
      'fchdir(@own root directory)',
      'chroot(".")',
      'fchdir(@own working directory)',
    ])
  })

  test.each([
    [[6, 4], 1],
    [[6, 5], 0],
    [[7, 0], 0],
    [[5, 15], 1],
  ] as const)('on Linux %p joins its layers in one option: %p', (kernel, joined) => {
    const { host } = ofRoot({ root: OVERLAY, facts: hostFacts({ kernel }) })
    expect(printed(host, 'mount_overlay')[0]).toStartWith(`mount_overlay(${joined}, `)
  })

  test('is mounted by the child with user.* marks where the launcher has no privileges', () => {
    const { host, child } = ofRoot({ root: OVERLAY, facts: rootless }, { linux: USER_NAMESPACE })
    expect(printed(host, 'mount_overlay')).toEqual([])
    expect(printed(child, 'mount_overlay')[0]).toContain('["source=overlay", "userxattr"]')
    expect(printed(child, 'mount_setattr').filter(line => line.includes('IDMAP'))).toEqual([])
  })

  test('hides files of its layers before the container sees it', () => {
    const entries = [
      { kind: 'parent', path: '/etc', mode: 0o755 },
      { kind: 'hidden', path: '/etc/shadow', mode: 0 },
      { kind: 'empty', path: '/root', mode: 0o700 },
    ] as const
    const { host } = ofRoot({ root: { ...OVERLAY, veil: { owner: 100_000, entries } } })
    const steps = host.slice(host.findIndex(({ op }) => op === 'mkdir'))
    expect(printed(steps, 'mkdir', 'chown', 'chmod', 'mknod', 'setxattr', 'mount_overlay').slice(0, -1)).toEqual([
      'mkdir(@upper /c/upper, "etc", 0700)',
      'chown(@upper /c/upper, "etc", 100000, 100000)',
      'chmod(@upper /c/upper, "etc", 0755)',
      'mknod(@upper /c/upper, "/etc/shadow", S_IFCHR, 0, 0, 0, 0, 0)',
      'mkdir(@upper /c/upper, "root", 0700)',
      'chown(@upper /c/upper, "root", 100000, 100000)',
      'chmod(@upper /c/upper, "root", 0700)',
      'setxattr(@upper /c/upper, "root", "trusted.overlay.opaque", "y")',
    ])
    // A container that is started again has its veil already.
    expect(steps.filter(({ op }) => op === 'mkdir').map(({ skipOnFailure }) => skipOnFailure)).toEqual([2, 3])
  })
})

describe('a patchwork', () => {
  const root: RootSource = {
    kind: 'patchwork',
    path: '/',
    patches: [{ target: '/etc', lowers: ['/etc'], upper: '/c/u', work: '/c/w' }],
  }

  test('is the plain directory with an overlay at each place', () => {
    const { child } = ofRoot({ root, facts: rootless }, { linux: USER_NAMESPACE })
    const lines = printed(child)
    const at = lines.findIndex(line => line.startsWith('mount_overlay('))
    expect(lines.slice(at, at + 3)).toEqual([
      'mount_overlay(0, [@layer0 of /c/u], @upper /c/u, @work /c/w, ["source=overlay", "userxattr"], 0) = @overlay of /etc',
      'mkdirs(@root, "/etc", 0755) = @target of /etc',
      'move_mount(@overlay of /etc, @target of /etc, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)',
    ])
  })

  test('is read-only overlay by overlay, after all mounts', () => {
    const parts = {
      linux: USER_NAMESPACE,
      root: { path: '/', readonly: true },
      mounts: [{ destination: '/etc/x', type: 'tmpfs' }],
    }
    const lines = printed(ofRoot({ root, facts: rootless }, parts).child)
    const late = lines.indexOf('mount_setattr(@overlay of /etc, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0, none)')
    expect(late).toBeGreaterThan(lines.findIndex(line => line.startsWith('move_mount(@/etc/x,')))
  })
})

describe('enterRoot()', () => {
  const ENTER = ['fchdir', 'pivot_root', 'umount', 'chroot', 'chdir'] as const

  test('makes the root the only one, by fd', () => {
    expect(printed(ofRoot().child, ...ENTER)).toEqual([
      'fchdir(@root)',
      'pivot_root(".", ".")',
      'umount(".", MNT_DETACH)',
      'chdir("/")',
    ])
  })

  test('goes by chroot where pivot_root is not wanted or there is no mount namespace to change', () => {
    const chroot = ['fchdir(@root)', 'chroot(".")', 'chdir("/")']
    expect(printed(ofRoot({ pivot: false }).child, ...ENTER)).toEqual(chroot)
    expect(printed(ofRoot({}, { linux: { namespaces: [{ type: 'pid' }] } }).child, ...ENTER)).toEqual(chroot)
  })

  test('makes the root read-only last, when all mount points have been made in it', () => {
    const { child } = ofRoot({}, { root: { path: 'rootfs', readonly: true } })
    expect(printed(child).at(-1)).toBe('mount_setattr(AT_FDCWD, "/", 0, MOUNT_ATTR_RDONLY, 0, 0, none)')
  })

  test.each([
    ['shared', 'mount_setattr(AT_FDCWD, "/", 0, 0, 0, MS_SHARED, none)'],
    ['rprivate', 'mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, 0, 0, MS_PRIVATE, none)'],
    ['rslave', 'chdir("/")'],
  ] as const)('leaves the root %s', (rootfsPropagation, last) => {
    const { child } = ofRoot({}, { linux: { namespaces: [{ type: 'mount' }], rootfsPropagation } })
    expect(printed(child).at(-1)).toBe(last)
  })
})

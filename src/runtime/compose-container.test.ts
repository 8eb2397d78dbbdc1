import { describe, expect, test } from 'bun:test'
import {
  composed,
  containerInput,
  hostFacts,
  NO_CGROUP,
  USER_NAMESPACE,
} from '../../test/support/composed-container.ts'
import { printed } from '../../test/support/plan-steps.ts'
import { O_DIRECTORY, O_PATH } from '../linux/open-flags.ts'
import type { RuntimeSpec } from '../oci/runtime-spec.ts'
import { printPlan } from '../plan/print.ts'
import { STAGES, step } from '../plan/step.ts'
import type { CgroupComposition } from './compose-cgroup.ts'
import { composeContainer } from './compose-container.ts'
import { PlanBuilder } from './plan-builder.ts'

/** A small container with everything that matters: ids of its own, a layer of the host under it, few rights, a hidden file. */
const SPEC: RuntimeSpec = {
  ociVersion: '1.3.0',
  hostname: 'web',
  process: {
    cwd: '/srv',
    args: ['httpd', '-f'],
    env: ['PATH=/usr/bin:/bin', 'LANG=C.UTF-8'],
    user: { uid: 33, gid: 33 },
    capabilities: { bounding: ['CAP_NET_BIND_SERVICE'], permitted: ['CAP_NET_BIND_SERVICE'] },
    noNewPrivileges: true,
    rlimits: [{ type: 'RLIMIT_NOFILE', soft: 1024n, hard: 4096n }],
  },
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/data', source: '/var/lib/web', options: ['rbind', 'ro'] },
  ],
  linux: {
    namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'user' }, { type: 'uts' }, { type: 'network' }],
    uidMappings: [{ containerID: 0, hostID: 100_000, size: 65_536 }],
    gidMappings: [{ containerID: 0, hostID: 100_000, size: 65_536 }],
    devices: [],
    maskedPaths: ['/proc/kcore'],
    readonlyPaths: ['/proc/sys'],
  },
}

function cgroupOf(builder: PlanBuilder): CgroupComposition {
  const dir = '/sys/fs/cgroup/berth/web'
  const cgroup = builder.slots.allocate('cgroup')
  return {
    ...NO_CGROUP,
    host: [
      step('mkdir', { dir: null, path: dir, mode: 0o755 }, 'make the cgroup'),
      step('write', { dir: null, path: `${dir}/pids.max`, data: '4096' }, 'limit pids.max'),
      step('open', { path: dir, flags: O_PATH | O_DIRECTORY, mode: 0, out: cgroup }, 'find it for clone3'),
    ],
    undo: [step('unlink', { dir: null, path: dir, flags: 0x200 }, 'remove the cgroup')],
    cloneInto: cgroup,
  }
}

function website() {
  const builder = new PlanBuilder()
  return composeContainer(
    builder,
    {
      ...containerInput(),
      id: 'web',
      spec: SPEC,
      stateDirectory: '/run/berth/web',
      root: { kind: 'overlay', lowers: ['/'], upper: '/var/lib/berth/web/upper', work: '/var/lib/berth/web/work' },
      facts: hostFacts({ directories: new Set(['/var/lib/web']) }),
      cgroup: cgroupOf(builder),
      start: 'on request',
    },
    { program: new Uint8Array(8 * 120), flags: 0, listener: null },
  )
}

describe('composeContainer()', () => {
  test('makes a container from nothing but kernel calls, each with its reason', () => {
    expect(printPlan(website())).toMatchInlineSnapshot(`
      "--- host ---
        0  open("/proc", O_DIRECTORY|O_PATH, 0) = @proc of the host  # keep the host's procfs for settings of the child
        1  check_fs(@proc of the host, proc)  # make sure that it is procfs
        2  mkdir(AT_FDCWD, "/sys/fs/cgroup/berth/web", 0755)  # make the cgroup
        3  write(AT_FDCWD, "/sys/fs/cgroup/berth/web/pids.max", "4096")  # limit pids.max
        4  open("/sys/fs/cgroup/berth/web", O_DIRECTORY|O_PATH, 0) = @cgroup  # find it for clone3
        5  open("/run/berth/web", O_DIRECTORY|O_PATH, 0) = @state directory  # find the container's state directory
        6  listen(@state directory, "start.sock", 0600) = @start socket  # make the socket at which the process waits for start
        7  open_tree(AT_FDCWD, "/var/lib/web", OPEN_TREE_CLONE|AT_RECURSIVE|OPEN_TREE_CLOEXEC) = @/data  # take /var/lib/web as a detached mount
        8  mount_setattr(@/data, "", AT_EMPTY_PATH|AT_RECURSIVE, 0, 0, MS_SLAVE, none)  # set how mounts propagate
        9  mount_setattr(@/data, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0, none)  # set the attributes of the mount
       10  open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = @/dev/null  # take the host's device node as a detached mount
       11  check_type(@/dev/null, S_IFCHR, 1, 3)  # make sure that it is the device of the config
       12  open_tree(AT_FDCWD, "/dev/zero", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = @/dev/zero  # take the host's device node as a detached mount
       13  check_type(@/dev/zero, S_IFCHR, 1, 5)  # make sure that it is the device of the config
       14  open_tree(AT_FDCWD, "/dev/full", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = @/dev/full  # take the host's device node as a detached mount
       15  check_type(@/dev/full, S_IFCHR, 1, 7)  # make sure that it is the device of the config
       16  open_tree(AT_FDCWD, "/dev/random", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = @/dev/random  # take the host's device node as a detached mount
       17  check_type(@/dev/random, S_IFCHR, 1, 8)  # make sure that it is the device of the config
       18  open_tree(AT_FDCWD, "/dev/urandom", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = @/dev/urandom  # take the host's device node as a detached mount
       19  check_type(@/dev/urandom, S_IFCHR, 1, 9)  # make sure that it is the device of the config
       20  open_tree(AT_FDCWD, "/dev/tty", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = @/dev/tty  # take the host's device node as a detached mount
       21  check_type(@/dev/tty, S_IFCHR, 5, 0)  # make sure that it is the device of the config
       22  open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = @null  # take the host's /dev/null, to cover files
       23  check_type(@null, S_IFCHR, 1, 3)  # make sure that it is the null device
       24  clone(CLONE_NEWNS|CLONE_NEWUTS|CLONE_NEWUSER|CLONE_NEWPID|CLONE_NEWNET, @cgroup, [])  # make the container process in its new namespaces
      --- parent ---
        0  write_child("uid_map", "0 100000 65536\\n")  # map user ids
        1  write_child("gid_map", "0 100000 65536\\n")  # map group ids
        2  post(1)  # the child may go on
        3  open_child("ns/user", O_RDONLY) = @user namespace  # find the container's user namespace, for idmapped mounts
        4  open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = @layer0  # take a layer as a detached mount
        5  mount_setattr(@layer0, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY|MOUNT_ATTR_IDMAP, 0, MS_PRIVATE, @user namespace)  # show the layer's owners as the container's ids, without changing a file
        6  open("/var/lib/berth/web/upper", O_DIRECTORY|O_PATH, 0) = @upper /var/lib/berth/web/upper  # find the container's own changes
        7  open("/var/lib/berth/web/work", O_DIRECTORY|O_PATH, 0) = @work /var/lib/berth/web/work  # find overlayfs's scratch directory
        8  mount_overlay(0, [@layer0], @upper /var/lib/berth/web/upper, @work /var/lib/berth/web/work, ["source=overlay"], 0) = @root  # put the container on top of its layers
        9  send_fd(@root)  # hand the root filesystem to the child
       10  ask(3)  # make sure that the container is on record
       11  await(2)  # wait until the container is complete
      --- child ---
        0  await(1)  # wait for what the launcher does for it: id maps, cgroup, priorities
        1  setresgid(0)  # become the root group of the user namespace
        2  setresuid(0)  # become root of the user namespace
        3  recv_fd() = @root  # receive the root filesystem
        4  mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, 0, 0, MS_SLAVE, none)  # make the child's view of mounts its own
        5  move_mount(@root, AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH)  # attach the root filesystem
        6  mkdir(@root, "proc", 0755) [EEXIST: go on]  # make the mount point
        7  openat2(@root, "/proc", O_DIRECTORY|O_NOFOLLOW|O_PATH, 0, RESOLVE_NO_MAGICLINKS|RESOLVE_NO_SYMLINKS|RESOLVE_IN_ROOT) = @target of /proc  # find the mount point of proc, which must be a real directory
        8  mount_fs("proc", "proc", [], MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC) = @/proc  # make the proc for /proc
        9  move_mount(@/proc, @target of /proc, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)  # mount it at /proc
       10  mkdirs(@root, "/data", 0755) = @target of /data  # find or make the mount point
       11  move_mount(@/data, @target of /data, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)  # mount it at /data
       12  mkfile(@root, "/dev/null", 0666) = @target of /dev/null  # make a place for /dev/null
       13  move_mount(@/dev/null, @target of /dev/null, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)  # mount it at /dev/null
       14  mkfile(@root, "/dev/zero", 0666) = @target of /dev/zero  # make a place for /dev/zero
       15  move_mount(@/dev/zero, @target of /dev/zero, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)  # mount it at /dev/zero
       16  mkfile(@root, "/dev/full", 0666) = @target of /dev/full  # make a place for /dev/full
       17  move_mount(@/dev/full, @target of /dev/full, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)  # mount it at /dev/full
       18  mkfile(@root, "/dev/random", 0666) = @target of /dev/random  # make a place for /dev/random
       19  move_mount(@/dev/random, @target of /dev/random, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)  # mount it at /dev/random
       20  mkfile(@root, "/dev/urandom", 0666) = @target of /dev/urandom  # make a place for /dev/urandom
       21  move_mount(@/dev/urandom, @target of /dev/urandom, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)  # mount it at /dev/urandom
       22  mkfile(@root, "/dev/tty", 0666) = @target of /dev/tty  # make a place for /dev/tty
       23  move_mount(@/dev/tty, @target of /dev/tty, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)  # mount it at /dev/tty
       24  symlink("/proc/self/fd", @root, "/dev/fd")  # link /dev/fd
       25  symlink("/proc/self/fd/0", @root, "/dev/stdin")  # link /dev/stdin
       26  symlink("/proc/self/fd/1", @root, "/dev/stdout")  # link /dev/stdout
       27  symlink("/proc/self/fd/2", @root, "/dev/stderr")  # link /dev/stderr
       28  symlink("pts/ptmx", @root, "/dev/ptmx")  # link /dev/ptmx
       29  mkdirs(@root, "/srv", 0755)  # make sure that the working directory exists (process.cwd)
       30  netlink(0, <32 bytes>, <0 bytes>)  # set lo up
       31  sethostname("web")  # set the host name
       32  readonly_path(@root, "/proc/sys") [ENOENT|ENOTDIR: go on]  # make it read-only (linux.readonlyPaths)
       33  mount_fs("tmpfs", "tmpfs", ["nr_inodes=1", "mode=755"], MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC) = @empty directory  # make an empty directory, to cover directories
       34  mask(@root, "/proc/kcore", @empty directory, @null) [ENOENT|ENOTDIR|EACCES: go on]  # hide it (linux.maskedPaths)
       35  fchdir(@root)  # stand in the root filesystem
       36  pivot_root(".", ".")  # make it the root, with the old root on top of it
       37  umount(".", MNT_DETACH)  # drop the host's filesystems
       38  chdir("/")  # leave no way back
      --- exec ---
        0  sigreset()  # leave no signal blocked or ignored
        1  keyring("_ses.web") [ENOSYS: go on]  # have a session keyring of its own
        2  setsid()  # lead a session of its own
        3  dup2(@stdin, 0)  # make it fd 0
        4  dup2(@stdout, 1)  # make it fd 1
        5  dup2(@stderr, 2)  # make it fd 2
        6  cloexec_from(3)  # let no other fd reach the program
        7  umask(022)  # set the file mode mask (process.user.umask)
        8  home(AT_FDCWD, "/etc/passwd", 33)  # look up HOME for the user
        9  chdir("/srv") [EACCES: skip 1]  # enter the working directory (process.cwd)
       10  open(".", O_DIRECTORY|O_PATH, 0) = @working directory  # remember that it was entered
       11  cap_bound(CAP_NET_BIND_SERVICE)  # drop what no program may regain (process.capabilities.bounding)
       12  setgroups([]) [EPERM: go on]  # set the supplementary groups (process.user.additionalGids)
       13  prctl(PR_SET_KEEPCAPS, 0x1, 0, 0, 0)  # keep capabilities over the change of user
       14  setresgid(33)  # become the group (process.user.gid)
       15  setresuid(33)  # become the user (process.user.uid)
       16  check_type(@working directory, S_IFDIR, -1, -1) [EBADF: go on] [ok: skip 1]  # see whether it was entered
       17  chdir("/srv")  # enter the working directory as the user
       18  check_cwd()  # make sure that the working directory is inside the container (CVE-2024-21626)
       19  access_exec(["/usr/bin/httpd", "/bin/httpd"])  # find the program
       20  prctl(PR_SET_NO_NEW_PRIVS, 0x1, 0, 0, 0)  # let no set-user-id program add privileges (process.noNewPrivileges)
       21  capset(0, CAP_NET_BIND_SERVICE, 0)  # keep the capabilities of the config (process.capabilities)
       22  cap_ambient(0)  # let programs that are not root have these (process.capabilities.ambient)
       23  post(2)  # tell the launcher that the container is complete
       24  wait_start(@start socket)  # wait for start
       25  prlimit(self, RLIMIT_NOFILE, 1024, 4096)  # set RLIMIT_NOFILE (process.rlimits)
       26  seccomp(<120 instructions>, 0x0)  # filter system calls (linux.seccomp)
       27  execve(["/usr/bin/httpd", "/bin/httpd"], ["httpd", "-f"], ["PATH=/usr/bin:/bin", "LANG=C.UTF-8"])  # become the program
      --- undo ---
        0  unlink(AT_FDCWD, "/sys/fs/cgroup/berth/web", AT_REMOVEDIR)  # remove the cgroup
        1  unlink(AT_FDCWD, "/run/berth/web/config.json", 0)  # forget the container
        2  unlink(AT_FDCWD, "/run/berth/web/state.json", 0)  # forget the container
        3  unlink(AT_FDCWD, "/run/berth/web/state.json.tmp", 0)  # forget the container
        4  unlink(AT_FDCWD, "/run/berth/web/creator.tmp", 0)  # forget the container
        5  unlink(AT_FDCWD, "/run/berth/web/start.sock", 0)  # forget the container
        6  unlink(AT_FDCWD, "/run/berth/web/shim.sock", 0)  # forget the container
        7  unlink(AT_FDCWD, "/run/berth/web/creator", 0)  # forget the container
        8  unlink(AT_FDCWD, "/run/berth/web", AT_REMOVEDIR)  # forget the container
      "
    `)
  })

  test('makes the same plan of the same input', () => {
    expect(website()).toEqual(website())
  })

  test('clones when all of the host stage is done, and once', () => {
    const { host, parent, child, exec } = website()
    expect(host.at(-1)?.op).toBe('clone')
    expect([...host, ...parent, ...child, ...exec].filter(({ op }) => op === 'clone')).toHaveLength(1)
  })

  test('answers every await with one post of the same tag on the other side, in the same order', () => {
    const hook = [{ path: '/bin/hook' }]
    const { parent, child, exec } = composed(
      { linux: USER_NAMESPACE, hooks: { prestart: hook, createRuntime: hook } },
      { start: 'on request' },
    )
    const tags = (steps: typeof parent, op: 'post' | 'await') =>
      steps.flatMap(each => (each.op === op && 'tag' in each.args ? [each.args.tag] : []))
    expect(tags(parent, 'post')).toEqual(tags(child, 'await'))
    expect(tags(parent, 'await')).toEqual(tags([...child, ...exec], 'post'))
    expect(tags(parent, 'await').length).toBe(2)
  })

  test('receives in the child what the parent sends, fd for fd', () => {
    const { parent, child } = website()
    expect(printed(child, 'recv_fd')).toEqual(
      printed(parent, 'send_fd').map(line => line.replace(/send_fd\((.*)\)/, 'recv_fd() = $1')),
    )
  })

  test('names no slot beyond its count', () => {
    const plan = website()
    const indices = STAGES.flatMap(stage => plan[stage]).flatMap(({ args }) =>
      Object.values(args).flatMap(value =>
        value !== null && typeof value === 'object' && 'index' in value ? [Number(value.index)] : [],
      ),
    )
    expect(Math.max(...indices)).toBeLessThan(plan.slotCount)
  })

  test('opens the procfs of the host before anything of the container can stand in its place', () => {
    expect(printed(website().host).slice(0, 2)).toEqual([
      'open("/proc", O_DIRECTORY|O_PATH, 0) = @proc of the host',
      'check_fs(@proc of the host, proc)',
    ])
  })

  test('has the launcher ask for the record before it waits for the container to be complete', () => {
    expect(printed(website().parent, 'ask', 'await')).toEqual(['ask(3)', 'await(2)'])
  })

  test('forgets the traces on disk in the undo, the creator last: until then the id is taken', () => {
    const { undo } = composed()
    expect(printed(undo).slice(-2)).toEqual([
      'unlink(AT_FDCWD, "/run/berth/c1/creator", 0)',
      'unlink(AT_FDCWD, "/run/berth/c1", AT_REMOVEDIR)',
    ])
  })

  test('keeps the state on disk where interfaces were moved: only it knows how to bring them back', () => {
    const names = { hostName: 'eth1', hostIndex: 9, name: 'eth1', index: 64, kind: null }
    const move = { ...names, mtuBytes: null, linkAddress: null, up: false, addresses: [] }
    const namespaces = [{ type: 'mount' }, { type: 'network' }] as const
    expect(composed({ linux: { namespaces } }, { netDevices: [move] }).undo).toEqual([])
  })

  test('waits for start only on request', () => {
    expect(printed(composed().exec, 'wait_start')).toEqual([])
    expect(printed(website().exec, 'wait_start')).toEqual(['wait_start(@start socket)'])
  })
})

describe('composeContainer() with a terminal', () => {
  const terminal = { process: { terminal: true, consoleSize: { height: 24, width: 80 }, user: { uid: 7 } } }
  const stdio = { pipes: [false, false, false], consoleSocket: '/run/console.sock', preservedFds: 0 } as const

  test('makes it in the devpts of the container by fd, never by a path that an image may redirect', () => {
    const { child } = composed(terminal, { stdio })
    const lines = printed(child)
    const first = lines.findIndex(line => line.includes('"/dev/pts"'))
    expect(lines.slice(first, first + 6)).toEqual([
      'openat2(@root, "/dev/pts", O_DIRECTORY|O_PATH, 0, RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT) = @devpts',
      'openpty(@devpts, 24, 80) = @terminal master, @terminal',
      'chown(@terminal, "", 7, -1)',
      'open_tree(@terminal, "", OPEN_TREE_CLONE|AT_EMPTY_PATH|OPEN_TREE_CLOEXEC) = @console',
      'mkfile(@root, "/dev/console", 0620) = @target of /dev/console',
      'move_mount(@console, @target of /dev/console, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)',
    ])
  })

  test('sends the master to the console socket by the launcher, and makes the slave all of stdio', () => {
    const { parent, exec } = composed(terminal, { stdio })
    expect(printed(parent, 'recv_fd', 'send_fd_to')).toEqual([
      'recv_fd() = @terminal master',
      'send_fd_to("/run/console.sock", @terminal master, "")',
    ])
    expect(printed(exec, 'setsid', 'set_ctty', 'dup2')).toEqual([
      'setsid()',
      'set_ctty(@terminal)',
      'dup2(@terminal, 0)',
      'dup2(@terminal, 1)',
      'dup2(@terminal, 2)',
    ])
  })

  test('keeps the master in the launcher that serves it', () => {
    const { parent } = composed(terminal, { ending: { kind: 'serve', stdin: true, log: null } })
    expect(printed(parent, 'send_fd_to')).toEqual([])
    expect(printed(parent, 'serve')[0]).toStartWith('serve(@shim socket, @terminal master, none, ')
  })

  test('is refused where nobody takes the master, and a socket where there is no terminal', () => {
    expect(() => composed(terminal)).toThrow('Cannot give the container a terminal: nobody takes its master')
    expect(() => composed({}, { stdio })).toThrow('Cannot use --console-socket: process.terminal is not true')
  })
})

describe('composeContainer() refuses', () => {
  test('a config without a process, or with one that names no program', () => {
    const { process: _, ...spec } = SPEC
    expect(() => composeContainer(new PlanBuilder(), { ...containerInput(), spec }, null)).toThrow(
      'config.json has no process',
    )
    expect(() => composed({ process: { args: [] } })).toThrow('process.args is empty, expected a program')
    expect(() => composed({ process: { args: [''] } })).toThrow('process.args is empty, expected a program')
  })

  test('what the machine cannot do, naming the field', () => {
    const namespaces = [{ type: 'mount' }] as const
    expect(() => composed({ linux: { namespaces, intelRdt: {} } })).toThrow('Cannot set linux.intelRdt')
    expect(() => composed({ linux: { namespaces, mountLabel: 'x' } })).toThrow(
      '(linux.mountLabel): SELinux is not enabled',
    )
    expect(() => composed({ process: { apparmorProfile: 'p' } })).toThrow('AppArmor is not enabled on this host')
    expect(() => composed({ process: { selinuxLabel: 'l' } })).toThrow('SELinux is not enabled on this host')
  })
})

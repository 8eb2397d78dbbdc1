/**
 * The table of step kinds: what TypeScript may ask of berth-init, one row per operation.
 *
 * `native/ops.def` is the same table in C; a test fails when number, name or signature differ. Numbers are never
 * used again for something else. The order of a row's arguments is their order on the wire. How an argument looks
 * on the wire depends on its kind only: see `WIRE`.
 */

/** How an argument is written on the wire: `i` 64-bit integer, `s` text, `b` bytes, `l` list of texts, `f` slot read, `o` slot written. */
export type Wire = 'i' | 's' | 'b' | 'l' | 'f' | 'o'

/** The kinds of argument. Several kinds share one wire form and differ only in how they print. */
export const WIRE = {
  int: 'i',
  octal: 'i',
  hex: 'i',
  pid: 'i',
  signal: 'i',
  openFlags: 'i',
  resolveFlags: 'i',
  openTreeFlags: 'i',
  attrFlags: 'i',
  moveMountFlags: 'i',
  atFlags: 'i',
  propagation: 'i',
  mountFlags: 'i',
  umountFlags: 'i',
  cloneFlags: 'i',
  capMask: 'i',
  rlimit: 'i',
  limit: 'i',
  fsMagic: 'i',
  fileType: 'i',
  prctlOption: 'i',
  seccompFlags: 'i',
  text: 's',
  path: 's',
  bytes: 'b',
  bpf: 'b',
  ids: 'b',
  slots: 'b',
  joins: 'b',
  texts: 'l',
  fd: 'f',
  out: 'o',
} as const satisfies Record<string, Wire>

export type ArgKind = keyof typeof WIRE

function row<const Args extends Readonly<Record<string, ArgKind>>>(
  code: number,
  args: Args,
): { readonly code: number; readonly args: Args } {
  return { code, args }
}

export const OPS = {
  // Files. `dir: null` is AT_FDCWD: a path of the process's own view, trusted by whoever composed the plan.
  open: row(1, { path: 'path', flags: 'openFlags', mode: 'octal', out: 'out' }),
  openat2: row(2, { dir: 'fd', path: 'path', flags: 'openFlags', mode: 'octal', resolve: 'resolveFlags', out: 'out' }),
  close: row(3, { fd: 'fd' }),
  mkdir: row(4, { dir: 'fd', path: 'path', mode: 'octal' }),
  mkdirs: row(5, { root: 'fd', path: 'path', mode: 'octal', out: 'out' }),
  mkfile: row(6, { root: 'fd', path: 'path', mode: 'octal', out: 'out' }),
  mknod: row(7, {
    root: 'fd',
    path: 'path',
    type: 'fileType',
    mode: 'octal',
    major: 'int',
    minor: 'int',
    uid: 'int',
    gid: 'int',
  }),
  symlink: row(8, { target: 'path', root: 'fd', path: 'path' }),
  unlink: row(9, { dir: 'fd', path: 'path', flags: 'atFlags' }),
  write: row(10, { dir: 'fd', path: 'path', data: 'bytes' }),
  write_fd: row(11, { fd: 'fd', data: 'bytes' }),
  write_checked: row(12, { dir: 'fd', path: 'path', magic: 'fsMagic', data: 'bytes' }),
  write_child: row(13, { name: 'path', data: 'bytes' }),
  chown: row(14, { fd: 'fd', path: 'path', uid: 'int', gid: 'int' }),
  chmod: row(15, { fd: 'fd', path: 'path', mode: 'octal' }),
  setxattr: row(16, { dir: 'fd', path: 'path', name: 'text', value: 'bytes' }),
  check_type: row(17, { fd: 'fd', type: 'fileType', major: 'int', minor: 'int' }),
  check_fs: row(18, { fd: 'fd', magic: 'fsMagic' }),
  copy_tree: row(19, { from: 'fd', to: 'fd' }),
  create_file: row(20, { dir: 'fd', path: 'path', mode: 'octal', data: 'bytes' }),
  read: row(21, { dir: 'fd', path: 'path', limit: 'int' }),
  open_child: row(22, { name: 'path', flags: 'openFlags', out: 'out' }),

  // Mounts.
  open_tree: row(30, { dir: 'fd', path: 'path', flags: 'openTreeFlags', out: 'out' }),
  mount_setattr: row(31, {
    fd: 'fd',
    path: 'path',
    flags: 'atFlags',
    set: 'attrFlags',
    clear: 'attrFlags',
    propagation: 'propagation',
    userns: 'fd',
  }),
  move_mount: row(32, { from: 'fd', to: 'fd', path: 'path', flags: 'moveMountFlags' }),
  mount_fs: row(33, { fstype: 'text', source: 'text', options: 'texts', attrs: 'attrFlags', out: 'out' }),
  mount: row(34, { source: 'text', target: 'fd', fstype: 'text', flags: 'mountFlags', data: 'text' }),
  mount_overlay: row(35, {
    joined: 'int',
    lowers: 'slots',
    upper: 'fd',
    work: 'fd',
    options: 'texts',
    attrs: 'attrFlags',
    out: 'out',
  }),
  umount: row(36, { path: 'path', flags: 'umountFlags' }),
  pivot_root: row(37, { newRoot: 'path', putOld: 'path' }),
  chroot: row(38, { path: 'path' }),
  fchdir: row(39, { fd: 'fd' }),
  chdir: row(40, { path: 'path' }),
  check_cwd: row(41, {}),
  mask: row(42, { root: 'fd', path: 'path', directory: 'fd', file: 'fd' }),
  readonly_path: row(43, { root: 'fd', path: 'path' }),

  // Namespaces, processes, and the two sides talking to each other.
  clone: row(50, { flags: 'cloneFlags', cgroup: 'fd', joins: 'joins', pidfd: 'out' }),
  setns: row(51, { fd: 'fd', type: 'cloneFlags' }),
  unshare: row(52, { flags: 'cloneFlags' }),
  userns: row(53, { uidMap: 'text', gidMap: 'text', out: 'out' }),
  post: row(54, { tag: 'int' }),
  await: row(55, { tag: 'int' }),
  send_fd: row(56, { fd: 'fd' }),
  recv_fd: row(57, { out: 'out' }),
  ask: row(58, { tag: 'int' }),
  hook: row(59, { path: 'path', args: 'texts', env: 'texts', timeoutMs: 'int', state: 'text' }),
  wait_start: row(60, { listener: 'fd' }),
  listen: row(61, { dir: 'fd', name: 'path', mode: 'octal', out: 'out' }),
  pidfd_open: row(62, { who: 'pid', out: 'out' }),
  pidfd_signal: row(63, { fd: 'fd', signal: 'signal' }),
  wait_child: row(64, {}),
  serve: row(65, {
    listener: 'fd',
    terminal: 'fd',
    stdin: 'fd',
    stdout: 'fd',
    stderr: 'fd',
    logDir: 'fd',
    logName: 'path',
    logMaxBytes: 'int',
    logMaxFiles: 'int',
    exitDir: 'fd',
    exitName: 'path',
  }),
  pipe: row(66, { reader: 'out', writer: 'out' }),

  // What a process is and may do.
  sethostname: row(70, { name: 'text' }),
  setdomainname: row(71, { name: 'text' }),
  prctl: row(72, { option: 'prctlOption', arg2: 'hex', arg3: 'hex', arg4: 'hex', arg5: 'hex' }),
  prlimit: row(73, { who: 'pid', resource: 'rlimit', soft: 'limit', hard: 'limit' }),
  sched_setattr: row(74, { who: 'pid', attr: 'bytes' }),
  sched_setaffinity: row(75, { who: 'pid', mask: 'bytes' }),
  ioprio_set: row(76, { who: 'pid', value: 'hex' }),
  set_mempolicy: row(77, { mode: 'hex', nodes: 'bytes', nodeCount: 'int' }),
  personality: row(78, { persona: 'hex' }),
  keyring: row(79, { name: 'text' }),
  umask: row(80, { mask: 'octal' }),
  setgroups: row(81, { gids: 'ids' }),
  setresgid: row(82, { gid: 'int' }),
  setresuid: row(83, { uid: 'int' }),
  capset: row(84, { effective: 'capMask', permitted: 'capMask', inheritable: 'capMask' }),
  cap_bound: row(85, { keep: 'capMask' }),
  cap_ambient: row(86, { raise: 'capMask' }),
  seccomp: row(87, { program: 'bpf', flags: 'seccompFlags', out: 'out' }),
  setsid: row(88, {}),
  openpty: row(89, { dir: 'fd', rows: 'int', columns: 'int', master: 'out', slave: 'out' }),
  set_ctty: row(90, { fd: 'fd' }),
  dup2: row(91, { fd: 'fd', target: 'int' }),
  cloexec_from: row(92, { first: 'int' }),
  access_exec: row(93, { paths: 'texts' }),
  execve: row(94, { paths: 'texts', argv: 'texts', env: 'texts' }),
  send_fd_to: row(95, { socket: 'path', fd: 'fd', data: 'text' }),
  netlink: row(96, { protocol: 'int', messages: 'bytes', patches: 'bytes' }),
  bpf_device: row(97, { program: 'bpf', cgroup: 'fd', replace: 'int' }),
  sigreset: row(98, {}),
  nsinfo: row(100, { path: 'path' }),
  home: row(99, { root: 'fd', path: 'path', uid: 'int' }),

  // Layers. The entries follow the plan on fd 0, see docs/plan-protocol.md.
  unpack: row(101, { root: 'fd' }),
  remove_tree: row(102, { dir: 'fd', name: 'path' }),

  // Terminals of the caller.
  tty_get: row(103, { fd: 'fd' }),
  tty_set: row(104, { fd: 'fd', settings: 'bytes' }),

  // Trees, read. What they say goes out as DATA, see docs/plan-protocol.md.
  pack: row(105, { root: 'fd', lower: 'fd', content: 'int' }),
  names: row(106, { root: 'fd', path: 'bytes' }),

  // Snapshots.
  merge_tree: row(110, {
    from: 'fd',
    to: 'fd',
    links: 'fd',
    idStart: 'int',
    idCount: 'int',
    base: 'fd',
    keepMarks: 'int',
  }),
  subvolume_create: row(111, { dir: 'fd', name: 'path' }),
  subvolume_snapshot: row(112, { source: 'fd', dir: 'fd', name: 'path', readonly: 'int' }),
  subvolume_delete: row(113, { dir: 'fd', name: 'path' }),
  tree_usage: row(114, { dir: 'fd', extents: 'int' }),

  mount_image: row(115, { fstype: 'text', image: 'fd', options: 'texts', attrs: 'attrFlags', out: 'out' }),

  // The disk.
  sync_fs: row(120, { fd: 'fd' }),

  // Where a plan ends and TypeScript goes on.
  call: row(118, { path: 'path', args: 'texts', env: 'texts' }),
} as const

export type OpName = keyof typeof OPS

// Class K of the published escapes: parts of the kernel that a container has no use for, through each way into it.
import { describe, expect } from 'bun:test'
import { readFileSync } from 'node:fs'
import { type Lab, securityTest } from './lab.ts'

const test = securityTest()
const onX86 = process.arch === 'x64' ? test : securityTest('kernel 999.0')
const onI386 = securityTest('int 0x80')
/** Tests of one table of system calls. */
const on = { x86_64: onX86, i386: onI386, x32: onX86 } as const

const AF_UNIX = 1
const AF_ALG = 38
const AF_VSOCK = 40
const SOCK_STREAM = 1
const SYS_SOCKET = 1
const HIGH = 2n ** 32n
const CLONE_NEWUSER = 0x1000_0000
const CLONE_NEWNS = 0x2_0000

/** Calls by name, with their numbers in both tables of x86. */
const NUMBERS: Readonly<Record<string, readonly [x86_64: number, i386: number]>> = {
  clone: [56, 120],
  unshare: [272, 310],
  setns: [308, 346],
  mount: [165, 21],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  move_mount: [429, 429],
  open_tree: [428, 428],
  mount_setattr: [442, 442],
  pivot_root: [155, 217],
  bpf: [321, 357],
  keyctl: [250, 288],
  add_key: [248, 286],
  request_key: [249, 287],
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  userfaultfd: [323, 374],
  socket: [41, 359],
  personality: [135, 136],
  perf_event_open: [298, 336],
  kexec_load: [246, 283],
  init_module: [175, 128],
  finit_module: [313, 350],
  open_by_handle_at: [304, 342],
  quotactl: [179, 131],
}

/** Runs the probe for each line in one container of the engine, and returns an answer for each. */
async function ask(lab: Lab, lines: readonly string[], ...options: readonly string[]): Promise<readonly string[]> {
  const script = lines.map(line => `probe ${line} || echo "killed $?"`).join('\n')
  const outcome = await lab.berthRun(...options, '--rootfs', lab.rootfs(), 'sh', '-c', script)
  expect(outcome).toMatchObject({ status: 0, stderr: '' })
  return outcome.stdout.trimEnd().split('\n')
}

function call(abi: 'x86_64' | 'i386' | 'x32', name: string, ...args: readonly (number | bigint)[]): string {
  const [x86, i386] = NUMBERS[name] ?? [0, 0]
  return `call ${abi} ${abi === 'i386' ? i386 : x86} ${args.join(' ')}`
}

async function expectRefused(lab: Lab, lines: readonly string[], ...options: readonly string[]): Promise<void> {
  const answers = await ask(lab, lines, ...options)
  const through = lines
    .map((line, index) => `${line}: ${answers[index]}`)
    .filter(each => !/: (EPERM|ENOSYS|killed 159)$/.test(each))
  expect(through).toEqual([])
}

const SURFACE: readonly (readonly [string, ...(readonly (number | bigint)[])])[] = [
  ['unshare', CLONE_NEWUSER],
  ['unshare', CLONE_NEWUSER | CLONE_NEWNS],
  ['setns', -1, 0],
  ['mount', 0, 0, 0, 0, 0],
  ['fsopen', 0, 0],
  ['fsconfig', -1, 0, 0, 0, 0],
  ['fsmount', -1, 0, 0],
  ['move_mount', -1, 0, -1, 0, 0],
  ['open_tree', -1, 0, 0],
  ['mount_setattr', -1, 0, 0, 0, 0],
  ['pivot_root', 0, 0],
  ['bpf', 0, 0, 0],
  ['keyctl', 0, -3, 0],
  ['add_key', 0, 0, 0, 0, 0],
  ['request_key', 0, 0, 0, 0],
  ['io_uring_setup', 1, 0],
  ['io_uring_enter', -1, 0, 0, 0, 0],
  ['io_uring_register', -1, 0, 0, 0],
  ['userfaultfd', 1],
  ['perf_event_open', 0, 0, 0, 0, 0],
  ['kexec_load', 0, 0, 0, 0],
  ['init_module', 0, 0, 0],
  ['finit_module', -1, 0, 0],
  ['open_by_handle_at', -1, 0, 0],
  ['quotactl', 0, 0, 0, 0],
]

describe('CVE-2022-0185, CVE-2022-0847, CVE-2016-5195: a call that exploits have started with', () => {
  for (const userns of ['auto', 'host'])
    for (const abi of ['x86_64', 'i386'] as const)
      on[abi](`is refused through ${abi}, --userns ${userns}`, async lab => {
        await expectRefused(
          lab,
          SURFACE.map(([name, ...args]) => call(abi, name, ...args)),
          '--userns',
          userns,
        )
      })

  onX86('is refused through x32, which no program uses', async lab => {
    const lines = SURFACE.map(([name, ...args]) => call('x32', name, ...args))
    await expectRefused(lab, [...lines, call('x32', 'socket', AF_UNIX, SOCK_STREAM, 0), 'call x32 39 0'])
  })

  onX86('is refused to a user who is not root', async lab => {
    await expectRefused(
      lab,
      SURFACE.map(([name, ...args]) => call('x86_64', name, ...args)),
      '-u',
      '1000',
    )
  })

  onX86('reaches the kernel when the filter is off, or the test would prove nothing', async lab => {
    const lines = [call('x86_64', 'unshare', 0), call('x86_64', 'keyctl', 0, -3, 0)]
    expect(await ask(lab, lines, '--security-opt', 'seccomp=unconfined')).toEqual(['ok', 'ok'])
  })

  onI386('reaches the kernel through i386 too when the filter is off', async lab => {
    const lines = [call('i386', 'keyctl', 0, -3, 0)]
    expect(await ask(lab, lines, '--security-opt', 'seccomp=unconfined')).toEqual(['ok'])
  })
})

describe('CVE-2026-31431, CVE-2026-43284: AF_ALG and AF_VSOCK', () => {
  for (const abi of ['x86_64', 'i386', 'x32'] as const)
    on[abi](`are refused through socket(2) of ${abi}`, async lab => {
      await expectRefused(
        lab,
        [AF_ALG, AF_VSOCK].map(family => call(abi, 'socket', family, SOCK_STREAM, 0)),
      )
    })

  onI386('are refused through the 32-bit socketcall(2), whose arguments no filter sees', async lab => {
    await expectRefused(
      lab,
      [AF_ALG, AF_VSOCK].map(family => `socketcall ${SYS_SOCKET} ${family} ${SOCK_STREAM} 0`),
    )
    await expectRefused(lab, [`call i386 102 ${HIGH + 1n} 0`])
  })

  for (const abi of ['x86_64', 'i386'] as const)
    on[abi](`are the families that are missing from ${abi}: the others are there`, async lab => {
      expect(await ask(lab, [call(abi, 'socket', AF_UNIX, SOCK_STREAM, 0)])).toEqual(['ok'])
    })
})

describe('CVE-2026-123876: arguments with bits that the kernel does not look at', () => {
  const highs = [HIGH, HIGH << 8n, 0xffff_ffffn << 32n, 1n << 63n]

  onX86('are compared as the kernel sees them', async lab => {
    await expectRefused(lab, [
      ...highs.flatMap(high =>
        [AF_ALG, AF_VSOCK].map(family => call('x86_64', 'socket', high + BigInt(family), SOCK_STREAM, 0)),
      ),
      ...highs.map(high => call('x86_64', 'unshare', high + BigInt(CLONE_NEWUSER))),
      ...highs.map(high => call('x86_64', 'personality', high + 0x040_0000n)),
      ...highs.map(high => call('x86_64', 'clone', high + BigInt(CLONE_NEWUSER), 0, 0, 0, 0)),
      ...highs.map(high => call('x86_64', 'clone', high + 0x7e02_0000n, 0, 0, 0, 0)),
    ])
  })

  // A 32-bit program's registers have no upper half, unless a 64-bit one goes the 32-bit way.
  onI386('are compared as the kernel sees them, through i386', async lab => {
    await expectRefused(lab, [
      ...highs.flatMap(high =>
        [AF_ALG, AF_VSOCK].map(family => call('i386', 'socket', high + BigInt(family), SOCK_STREAM, 0)),
      ),
      ...highs.map(high => call('i386', 'clone', high + BigInt(CLONE_NEWUSER), 0, 0, 0, 0)),
      ...highs.map(high => call('i386', 'personality', high + 0x040_0000n)),
    ])
  })

  onX86('do not keep a program from what it may do', async lab => {
    const lines = [
      call('x86_64', 'socket', HIGH + BigInt(AF_UNIX), SOCK_STREAM, 0),
      call('x86_64', 'personality', 0xffff_ffffn),
      call('x86_64', 'personality', (1n << 63n) + 0xffff_ffffn),
    ]
    expect(await ask(lab, lines)).toEqual(['ok', 'ok', 'ok'])
  })
})

describe('CVE-2022-0492: the release agent of a cgroup', () => {
  const search = `find / -xdev -name release_agent 2>/dev/null; for f in $(find /sys/fs/cgroup -name release_agent) /sys/fs/cgroup/*/release_agent; do [ -e $f ] && (echo /evil > $f) 2>/dev/null && echo "wrote $f"; done; true`

  for (const options of [
    [],
    ['--userns', 'host'],
    ['--cap-add', 'SYS_ADMIN'],
    ['--cap-add', 'ALL'],
    ['--cap-add', 'ALL', '--security-opt', 'seccomp=unconfined'],
  ])
    test(`can't be set by a container with [${options.join(' ')}]`, async lab => {
      const agents = (): string =>
        Bun.spawnSync(['sh', '-c', 'cat /sys/fs/cgroup/*/release_agent 2>/dev/null']).stdout.toString()
      const before = agents()
      const hierarchies = [...readFileSync('/proc/self/cgroup', 'utf8').matchAll(/^\d+:([^:]+):/gm)].map(
        ([, names = '']) => names,
      )
      const mounts = hierarchies.map(
        (names, index) =>
          `mkdir -p /c${index}; mount -t cgroup -o ${names.startsWith('name=') ? `none,${names}` : names} cgroup /c${index} 2>/dev/null && (echo /evil > /c${index}/release_agent) 2>/dev/null && echo "wrote ${names}"`,
      )
      const rootfs = lab.rootfs()
      for (const name of ['mount', 'find']) Bun.spawnSync(['ln', '-s', 'busybox', `${rootfs}/bin/${name}`])
      const { stdout } = await lab.berthRun(
        ...options,
        '--rootfs',
        rootfs,
        'sh',
        '-c',
        [search, ...mounts, 'true'].join('\n'),
      )
      expect(agents()).toBe(before)
      expect(stdout.split('\n').filter(line => line.startsWith('wrote'))).toEqual([])
    })
})

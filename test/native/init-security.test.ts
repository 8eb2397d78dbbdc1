import { beforeAll, describe, expect } from 'bun:test'
import type { Step } from '../../src/plan/step.ts'
import { testIf } from '../support/requirement.ts'
import { AVAILABLE, BUILDS, clone, container, make, plan, run, s, shell, slot } from './init-driver.ts'

const EPERM = 1
const EEXIST = 17
const EINVAL = 22
const TIME_LIMIT_MS = 120_000
const RLIMIT_NOFILE = 7
const RLIMIT_CORE = 4
const PR_SET_NO_NEW_PRIVS = 38
const PR_SET_KEEPCAPS = 8
const CAP_CHOWN = 1n << 0n
const CAP_NET_RAW = 1n << 13n
const NETLINK_ROUTE = 0
const rootTest = testIf('root')

beforeAll(() => Object.values(BUILDS).forEach(make), TIME_LIMIT_MS)

/** One sock_filter: opcode, jumps, constant. */
function filter(...rows: [number, number, number, number][]): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 * rows.length))
  rows.forEach(([code, jt, jf, k], index) => {
    view.setUint16(8 * index, code, true)
    view.setUint8(8 * index + 2, jt)
    view.setUint8(8 * index + 3, jf)
    view.setUint32(8 * index + 4, k, true)
  })
  return new Uint8Array(view.buffer)
}

function u32(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer)
}

const LINKS = { get: 18, set: 16, dump: 0x301, ack: 5 }

/** One rtnetlink message with an ifinfomsg, and optionally IFLA_MTU. */
function linkMessage(type: number, flags: number, index: number, up: boolean, mtu?: number): Uint8Array {
  const attribute = mtu === undefined ? [] : [0x00040008, mtu]
  const length = 32 + 4 * attribute.length
  return u32(length, type | (flags << 16), 1, 0, 0, index, up ? 1 : 0, up ? 1 : 0, ...attribute)
}

for (const build of AVAILABLE) {
  const inside = async (child: readonly Step[], script: string, exec: readonly Step[] = []) => {
    const { stdout, stderr, records } = await run(build, container(child, script, { exec }))
    expect(stderr).toBe('')
    expect(records.at(-1)).toEqual({ kind: 'exit', waitStatus: 0 })
    return stdout
  }

  describe(`what a process is (${build})`, () => {
    rootTest('ids, groups, capabilities and no_new_privs are what the steps say', async () => {
      const keep = CAP_CHOWN | CAP_NET_RAW
      const exec = [
        s('cap_bound', { keep }),
        s('prctl', { option: PR_SET_KEEPCAPS, arg2: 1, arg3: 0, arg4: 0, arg5: 0 }),
        s('setgroups', { gids: [5, 6] }),
        s('setresgid', { gid: 33 }),
        s('setresuid', { uid: 44 }),
        s('capset', { effective: keep, permitted: keep, inheritable: keep }),
        s('cap_ambient', { raise: CAP_NET_RAW }),
        s('prctl', { option: PR_SET_NO_NEW_PRIVS, arg2: 1, arg3: 0, arg4: 0, arg5: 0 }),
        s('umask', { mask: 0o27 }),
      ]
      const mask = (bits: bigint) => bits.toString(16).padStart(16, '0')
      const status = await inside([], 'cat /proc/self/status', exec)
      for (const line of [
        'Umask:\t0027',
        'Uid:\t44\t44\t44\t44',
        'Gid:\t33\t33\t33\t33',
        'Groups:\t5 6 ',
        `CapInh:\t${mask(keep)}`,
        `CapPrm:\t${mask(CAP_NET_RAW)}`,
        `CapEff:\t${mask(CAP_NET_RAW)}`,
        `CapBnd:\t${mask(keep)}`,
        `CapAmb:\t${mask(CAP_NET_RAW)}`,
        'NoNewPrivs:\t1',
      ])
        expect(status).toContain(`\n${line}\n`)
    })

    rootTest('limits, names, scheduling, personality and keyring are set', async () => {
      const child = [
        s('prlimit', { who: 0, resource: RLIMIT_NOFILE, soft: 77, hard: 88 }),
        s('sethostname', { name: 'host.name' }),
        s('setdomainname', { name: 'domain.name' }),
        s('sched_setaffinity', { who: 0, mask: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0) }),
        s('sched_setattr', { who: 0, attr: u32(48, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) }),
        s('ioprio_set', { who: 0, value: (2 << 13) | 6 }),
        s('personality', { persona: 0x40000 }),
        s('keyring', { name: 'berth-test' }, { tolerate: [38] }),
        s('setsid', {}, { tolerate: [EPERM] }),
      ]
      const script =
        'ulimit -Sn; ulimit -Hn; hostname; cat /proc/sys/kernel/domainname; grep Cpus_allowed_list /proc/self/status; ' +
        'chrt -p 1 | head -1; ionice -p 1; cat /proc/self/personality; exit 0'
      expect(await inside(child, script)).toBe(
        '77\n88\nhost.name\ndomain.name\nCpus_allowed_list:\t0\n' +
          "pid 1's current scheduling policy: SCHED_BATCH\nbest-effort: prio 6\n00040000\n",
      )
    })

    rootTest('the launcher limits its child from outside', async () => {
      const limit = s('prlimit', { who: -1, resource: RLIMIT_CORE, soft: 0, hard: 0 })
      const parent = [limit, s('post', { tag: 1 }), s('wait_child', {})]
      const { stdout } = await run(
        build,
        plan({ host: [clone()], parent, child: [s('await', { tag: 1 })], exec: shell('ulimit -Hc') }),
      )
      expect(stdout).toBe('0\n')
    })

    rootTest('seccomp() filters what follows, and gives the listener when asked for', async () => {
      const noNewPrivs = s('prctl', { option: PR_SET_NO_NEW_PRIVS, arg2: 1, arg3: 0, arg4: 0, arg5: 0 })
      // mkdir (83) and mkdirat (258) give EEXIST; everything else is allowed.
      const program = filter(
        [0x20, 0, 0, 0],
        [0x15, 1, 0, 83],
        [0x15, 0, 1, 258],
        [0x06, 0, 0, 0x50000 | EEXIST],
        [0x06, 0, 0, 0x7fff0000],
      )
      const seccomp = (bytes: Uint8Array, flags = 0) => s('seccomp', { program: bytes, flags, out: slot(0) })
      expect(await inside([], 'mkdir /nonexistent/x 2>&1 || true', [noNewPrivs, seccomp(program)])).toContain(
        'File exists',
      )
      const refused = await run(build, container([seccomp(program.subarray(0, 9))], 'true'))
      expect(refused.records.at(-1)).toMatchObject({ kind: 'fail', errno: EINVAL })
      const listener = [seccomp(filter([0x06, 0, 0, 0x7fff0000]), 8), s('send_fd', { fd: slot(0) })]
      const sent = await run(
        build,
        plan({ host: [clone()], parent: [s('recv_fd', { out: slot(1) })], child: listener }),
      )
      expect(sent.records.at(-1)).toEqual({ kind: 'done' })
    })

    rootTest('seccomp() right before execve() need allow nothing else of berth-init', async () => {
      const noNewPrivs = s('prctl', { option: PR_SET_NO_NEW_PRIVS, arg2: 1, arg3: 0, arg4: 0, arg5: 0 })
      // writev (20), sendmsg (46), fcntl (72), umask (95) and prctl (157) kill the process.
      const calls = [20, 46, 72, 95, 157].map((call, at): [number, number, number, number] => [0x15, 5 - at, 0, call])
      const program = filter([0x20, 0, 0, 0], ...calls, [0x06, 0, 0, 0x7fff0000], [0x06, 0, 0, 0x80000000])
      const execve = s('execve', { paths: ['/bin/true'], argv: ['true'], env: [] })
      const exec = [noNewPrivs, s('seccomp', { program, flags: 0, out: null }), execve]
      const { records } = await run(build, plan({ host: [clone()], parent: [s('wait_child', {})], exec }))
      expect(records.at(-1)).toEqual({ kind: 'exit', waitStatus: 0 })
    })

    rootTest('no path of a program leads through an fd of berth-init, CVE-2024-21626', async () => {
      const open = s('open', { path: '/', flags: 0o10000000, mode: 0, out: slot(0) })
      const paths = Array.from({ length: 20 }, (_, fd) => `/proc/self/fd/${fd}/bin/true`)
      const execve = s('execve', { paths, argv: ['true'], env: [] })
      const { records } = await run(
        build,
        plan({ host: [clone({ flags: 0 })], child: [open], exec: [s('access_exec', { paths }), execve] }),
      )
      expect(records.at(-1)).toMatchObject({ kind: 'fail', stage: 'exec', step: 1, errno: 2 })
    })

    rootTest('openpty(), setsid() and set_ctty() give the child a terminal of its own', async () => {
      const child = [
        s('mount_fs', {
          fstype: 'devpts',
          source: 'devpts',
          options: ['ptmxmode=0666', 'mode=0620'],
          attrs: 0,
          out: slot(0),
        }),
        s('move_mount', { from: slot(0), to: null, path: '/dev/pts', flags: 0 }),
        s('open', { path: '/dev/pts', flags: 0o10000000, mode: 0, out: slot(1) }),
        s('openpty', { dir: slot(1), rows: 12, columns: 34, master: slot(2), slave: slot(3) }),
        s('setsid', {}),
        s('set_ctty', { fd: slot(3) }),
      ]
      expect(
        await inside(
          [...child, s('dup2', { fd: slot(2), target: 8 }), s('dup2', { fd: slot(3), target: 9 })],
          'stty size <&9; tty <&9; stty size </dev/tty',
        ),
      ).toBe('12 34\n/dev/pts/0\n12 34\n')
      const fake = [
        s('mkdirs', { root: null, path: 'tmp/berth-fake-pts', mode: 0o700, out: slot(1) }),
        s('mknod', { root: slot(1), path: 'ptmx', type: 0o20000, mode: 0o600, major: 1, minor: 3, uid: 0, gid: 0 }),
        s('openpty', { dir: slot(1), rows: 0, columns: 0, master: slot(2), slave: slot(3) }),
      ]
      const tmpfs = [
        s('mount_fs', { fstype: 'tmpfs', source: 'none', options: [], attrs: 0, out: slot(0) }),
        s('move_mount', { from: slot(0), to: null, path: '/tmp', flags: 0 }),
        s('chdir', { path: '/' }),
      ]
      const { records } = await run(build, container([...tmpfs, ...fake], 'true'))
      expect(records.at(-1)).toMatchObject({ kind: 'fail', stage: 'child', errno: 19 })
    })

    rootTest('dup2() moves what is in its way, even the pair to the launcher', async () => {
      const child = Array.from({ length: 20 }, (_, target) => s('dup2', { fd: slot(0), target: target + 3 }))
      const open = s('open', { path: '/etc', flags: 0, mode: 0, out: slot(0) })
      const parent = [s('await', { tag: 1 }), s('wait_child', {})]
      const exec = [
        s('post', { tag: 1 }),
        s('cloexec_from', { first: 5 }),
        ...shell('ls -l /proc/self/fd | grep -c /etc; exit 4'),
      ]
      const { records, stdout } = await run(build, plan({ host: [clone()], parent, child: [open, ...child], exec }))
      expect(records.at(-1)).toEqual({ kind: 'exit', waitStatus: 4 << 8 })
      expect(stdout).toBe('2\n')
    })
  })

  describe(`netlink (${build})`, () => {
    const netlink = (...messages: Uint8Array[]): Step =>
      s('netlink', {
        protocol: NETLINK_ROUTE,
        messages: new Uint8Array(Buffer.concat(messages)),
        patches: new Uint8Array(0),
      })

    rootTest('executes messages in order in the namespace of the child', async () => {
      const up = linkMessage(LINKS.set, LINKS.ack, 1, true)
      const mtu = linkMessage(LINKS.set, LINKS.ack, 1, false, 1234)
      expect(
        await inside(
          [netlink(up, mtu)],
          'cat /sys/class/net/lo/flags /proc/net/dev >/dev/null; ip -o link show lo || cat /sys/class/net/lo/mtu',
        ),
      ).toContain('1234')
    })

    rootTest('stops at the first error and says what the kernel says', async () => {
      const bad = linkMessage(LINKS.set, LINKS.ack, 99, true)
      const child = [
        s('netlink', {
          protocol: NETLINK_ROUTE,
          messages: new Uint8Array(Buffer.concat([bad, linkMessage(LINKS.set, LINKS.ack, 1, true)])),
          patches: new Uint8Array(0),
        }),
      ]
      const { records } = await run(build, container(child, 'true'))
      expect(records.at(-1)).toMatchObject({ kind: 'fail', stage: 'child', step: 1, errno: 19 })
      const broken = await run(build, plan({ host: [netlink(u32(400, 16, 1, 0))] }))
      expect(broken.records).toMatchObject([{ kind: 'fail', errno: EINVAL }])
    })

    rootTest('sends the reply of a dump as DATA', async () => {
      const { records } = await run(
        build,
        plan({ host: [clone()], child: [netlink(linkMessage(LINKS.get, LINKS.dump, 0, false))] }),
      )
      const [data] = records.filter(({ kind }) => kind === 'data')
      expect(data?.kind === 'data' && Buffer.from(data.bytes).includes('lo\0')).toBe(true)
      expect(records.at(-1)).toEqual({ kind: 'done' })
    })

    rootTest('writes the pid of the child and the number of an fd where a patch says', async () => {
      // IFLA_NET_NS_PID of a link that does not exist: the patch is what fails, or not.
      const message = linkMessage(LINKS.set, LINKS.ack, 99, false, 0)
      const patched = (offset: number, kind: number, index: number) =>
        s('netlink', { protocol: NETLINK_ROUTE, messages: message, patches: u32(offset, kind, index, 0) })
      for (const [offset, kind, index, errno] of [
        [36, 0, -1, 3],
        [37, 1, 3, EINVAL],
        [36, 2, 3, EINVAL],
        [36, 1, 3, 9],
        [36, 1, -1, 9],
      ] as const) {
        const { records } = await run(build, plan({ host: [patched(offset, kind, index)] }))
        expect(records).toMatchObject([{ kind: 'fail', errno }])
      }
    })
  })
}

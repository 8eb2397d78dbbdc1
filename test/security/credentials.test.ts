// Class G of the published escapes: users, groups and capabilities that are not what was asked for.
import { describe, expect } from 'bun:test'
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BERTH_COMMAND } from '../support/runtime-under-test.ts'
import { CONTAINER_CAPABILITIES, type Lab, securityTest, untilFileHas } from './lab.ts'

const test = securityTest()
const NO_CAPABILITIES = '0000000000000000'
const STATUS = ['grep', '-E', '^(Uid|Gid|Groups|Cap|NoNewPrivs)', '/proc/self/status']

/** Lines of /proc/PID/status by name. */
function statusOf(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    [...text.matchAll(/^(\w+):[ \t]*(.*?)[ \t]*$/gm)].map(([, name = '', value = '']) => [name, value]),
  )
}

describe('CVE-2016-3697, CVE-2024-40635, CVE-2026-46680: a user that is a number', () => {
  /** An image in which each of these is also the name of root. */
  function confusing(lab: Lab, users: readonly string[]): string {
    const rootfs = lab.rootfs()
    writeFileSync(join(rootfs, 'etc/passwd'), users.map(name => `${name}:x:0:0::/:/bin/sh\n`).join(''))
    writeFileSync(join(rootfs, 'etc/group'), users.map(name => `${name}:x:0:\n`).join(''))
    return rootfs
  }

  const numbers = [
    '2147483648',
    '4294967295',
    '4294967296',
    '4294968296',
    '18446744073709551616',
    '99999999999999999999',
    '65536',
  ]
  // A user without a line of its own in passwd is in the group 0, as in Docker.
  for (const number of [...numbers, '-1', '+0', '0x0', ' 0', '1e3'])
    for (const userns of ['auto', 'host'])
      test(`${JSON.stringify(number)} is never looked up or cut down to root, --userns ${userns}`, async lab => {
        const rootfs = confusing(lab, numbers)
        for (const user of [number, `${number}:${number}`, `1000:${number}`]) {
          const { status, stdout } = await lab.berthRun(
            `--user=${user}`,
            '--userns',
            userns,
            '--rootfs',
            rootfs,
            ...STATUS,
          )
          const { Uid = '', Gid = '' } = statusOf(stdout)
          const [uid, gid = '0'] = user.split(':')
          if (status === 0) expect([user, Uid.split('\t')[1], Gid.split('\t')[1]]).toEqual([user, uid, gid])
          else expect(stdout).toBe('')
        }
      })

  test('is a number although the image has a user of that name', async lab => {
    const { stdout } = await lab.berthRun('-u', '1234', '--rootfs', confusing(lab, ['1234']), 'id', '-u')
    expect(stdout).toBe('1234\n')
  })

  for (const uid of [4294967295, 4294967296, -1, 2 ** 53, 0.5])
    test(`${uid} in a config is an error`, async lab => {
      for (const user of [
        { uid, gid: 1 },
        { uid: 1, gid: uid },
        { uid: 1, gid: 1, additionalGids: [uid] },
      ]) {
        const { status, stdout } = await lab.run(lab.bundle({ args: ['id'], process: { user } }))
        expect({ user, failed: status > 0, stdout }).toEqual({ user, failed: true, stdout: '' })
      }
    })
})

describe('CVE-2026-30892: the user of an exec', () => {
  test('is the one that was asked for, in every form', async lab => {
    const bundle = lab.bundle({ args: ['sleep', '1000'] })
    await lab.start(bundle)
    for (const [form, uid, gid] of [
      ['1', '1', '0'],
      ['1:1', '1', '1'],
      ['0:1', '0', '1'],
      ['1000:0', '1000', '0'],
      ['65534:65534', '65534', '65534'],
      ['2147483647', '2147483647', '0'],
      ['4294967294:4294967294', '4294967294', '4294967294'],
    ] as const) {
      const { stdout, stderr } = await lab.runtime('exec', '--user', form, bundle.id, ...STATUS)
      const { Uid, Gid } = statusOf(stdout)
      const four = (id: string): string => Array.from({ length: 4 }, () => id).join('\t')
      expect({ form, Uid, Gid, stderr }).toEqual({ form, Uid: four(uid), Gid: four(gid), stderr: '' })
    }
  })

  test('is an error when it is none', async lab => {
    const bundle = lab.bundle({ args: ['sleep', '1000'] })
    await lab.start(bundle)
    for (const form of [
      '-1',
      '4294967295',
      '4294967296',
      '1:4294967296',
      '1:-1',
      'root',
      '1:root',
      '1:1:1',
      '',
      ':',
      '1:',
      '0x1',
      '1 ',
    ]) {
      const { status, stdout } = await lab.runtime('exec', `--user=${form}`, bundle.id, 'id', '-u')
      // An empty value is no value, and leaves the user of the container.
      if (status !== 0 || form !== '')
        expect({ form, failed: status > 0, stdout }).toEqual({ form, failed: true, stdout: '' })
    }
  })
})

describe('CVE-2022-24769, CVE-2022-27649 … 27652, CVE-2022-29162: inheritable and ambient capabilities', () => {
  test('are none in a container, whatever the config has as permitted', async lab => {
    for (const uid of [0, 1000]) {
      const { stdout } = await lab.run(lab.bundle({ args: STATUS, process: { user: { uid, gid: uid } } }))
      expect(statusOf(stdout)).toMatchObject({ CapInh: NO_CAPABILITIES, CapAmb: NO_CAPABILITIES })
    }
  })

  test('are none in an exec, with --cap either', async lab => {
    const bundle = lab.bundle({ args: ['sleep', '1000'] })
    await lab.start(bundle)
    for (const options of [[], ['--user', '1000:1000'], ['--cap', 'CAP_CHOWN']]) {
      const { stdout } = await lab.runtime('exec', ...options, bundle.id, ...STATUS)
      expect({ options, ...statusOf(stdout) }).toMatchObject({
        options,
        CapInh: NO_CAPABILITIES,
        CapAmb: NO_CAPABILITIES,
      })
    }
  })

  for (const options of [[], ['--cap-add', 'SYS_ADMIN'], ['--cap-add', 'ALL'], ['--privileged'], ['-u', '1000']])
    test(`are none in a container of the engine with [${options.join(' ')}]`, async lab => {
      const { stdout } = await lab.berthRun(...options, '--rootfs', lab.rootfs(), ...STATUS)
      expect(statusOf(stdout)).toMatchObject({ CapInh: NO_CAPABILITIES, CapAmb: NO_CAPABILITIES })
    })
})

describe('CVE-2022-36109, CVE-2022-2990, CVE-2022-2995, CVE-2023-25173: supplementary groups', () => {
  test('of a user of the engine have the primary one among them', async lab => {
    for (const [user, groups] of [
      ['user', ['1000', '2000']],
      ['1000', ['1000', '2000']],
      ['1000:1000', ['1000']],
      ['1000:2000', ['2000']],
      ['4000:4001', ['4001']],
      ['root', ['0']],
    ] as const) {
      const { stdout } = await lab.berthRun('-u', user, '--rootfs', lab.rootfs(), ...STATUS)
      expect({ user, groups: statusOf(stdout)['Groups']?.split(' ').sort() }).toEqual({ user, groups: [...groups] })
    }
  })

  test("can't be left by a set-group-id program to reach what the group is denied", async lab => {
    const rootfs = lab.rootfs()
    writeFileSync(join(rootfs, 'denied'), 'reached')
    chownSync(join(rootfs, 'denied'), 0, 1000)
    chmodSync(join(rootfs, 'denied'), 0o604)
    execFileSync('cp', [join(rootfs, 'bin/busybox'), join(rootfs, 'bin/leave')])
    chownSync(join(rootfs, 'bin/leave'), 0, 2000)
    chmodSync(join(rootfs, 'bin/leave'), 0o2755)
    const options = ['--security-opt', 'no-new-privileges=false', '-u', '1000:1000', '--rootfs', rootfs]
    const { stdout } = await lab.berthRun(...options, '/bin/leave', 'cat', '/denied')
    expect(stdout).toBe('')
  })

  test('of the engine itself are not those of a container', async lab => {
    const { stdout } = await lab.run(lab.bundle({ args: STATUS, process: { user: { uid: 0, gid: 0 } } }))
    expect(['', '0']).toContain(statusOf(stdout)['Groups'] ?? '')
  })
})

describe('CVE-2022-4318: a line break in what becomes a line of a file', () => {
  const LINE = 'x\nroot2::0:0::/:/bin/sh'

  test('makes no user, host or resolver', async lab => {
    const rootfs = lab.rootfs()
    const script = 'cat /etc/passwd /etc/group /etc/hosts /etc/hostname /etc/resolv.conf'
    for (const options of [
      ['-e', `HOME=/${LINE}`],
      ['-e', `USER=${LINE}`],
      ['--hostname', LINE],
      ['--domainname', LINE],
      ['--add-host', `x${LINE}:1.2.3.4`],
      ['--add-host', `x:${LINE}`],
      ['-w', `/${LINE}`],
    ]) {
      const { stdout } = await lab.berthRun(...options, '--rootfs', rootfs, 'sh', '-c', script)
      expect({ options, lines: stdout.split('\n').filter(line => line.startsWith('root2')) }).toEqual({
        options,
        lines: [],
      })
    }
  })

  test('stays one variable of the environment', async lab => {
    const { stdout } = await lab.berthRun('-e', 'A=1\nB=2', '--rootfs', lab.rootfs(), 'cat', '/proc/self/environ')
    expect(stdout.split('\0')).toContain('A=1\nB=2')
  })
})

describe('CVE-2018-10856, GHSA-g54h: what a user who is not root, and root, keep', () => {
  test('is no capability for a user who is not root', async lab => {
    for (const user of ['1000', 'user', '65534:65534']) {
      const { stdout } = await lab.berthRun('-u', user, '--rootfs', lab.rootfs(), ...STATUS)
      const none = {
        CapInh: NO_CAPABILITIES,
        CapPrm: NO_CAPABILITIES,
        CapEff: NO_CAPABILITIES,
        CapAmb: NO_CAPABILITIES,
      }
      expect(statusOf(stdout)).toMatchObject({ ...none, CapBnd: '00000000a80425fb', NoNewPrivs: '1' })
    }
  })

  test('is what the config says and nothing more, for an exec too', async lab => {
    const wanted = {
      CapPrm: '0000000020000420',
      CapEff: '0000000020000420',
      CapBnd: '0000000020000420',
      NoNewPrivs: '1',
    }
    expect(CONTAINER_CAPABILITIES).toHaveLength(3)
    expect(statusOf((await lab.run(lab.bundle({ args: STATUS }))).stdout)).toMatchObject(wanted)
    const bundle = lab.bundle({ args: ['sleep', '1000'] })
    await lab.start(bundle)
    expect(statusOf((await lab.runtime('exec', bundle.id, ...STATUS)).stdout)).toMatchObject(wanted)
  })

  const attack =
    'mknod /sda b 8 0 && echo made; dd if=/sda bs=1 count=1 of=/dev/null; mknod /mem c 1 1 && head -c 1 /mem; mknod /kmsg c 1 11 && head -c 1 /kmsg'

  test('opens no device that is not on the list, although it may make its node', async lab => {
    const names = [...CONTAINER_CAPABILITIES, 'CAP_MKNOD', 'CAP_DAC_OVERRIDE']
    const capabilities = { bounding: names, effective: names, permitted: names }
    const outcome = await lab.run(lab.bundle({ args: ['sh', '-c', attack], process: { capabilities } }))
    const inEngine = await lab.berthRun('--userns', 'host', '--rootfs', lab.rootfs(), 'sh', '-c', attack)
    for (const { stdout, stderr } of [outcome, inEngine]) {
      expect(stdout.replace('made\n', '')).toBe('')
      expect(stderr.match(/(can't|No such).*/g)?.filter(line => !/not permitted/.test(line)) ?? []).toEqual([])
    }
  })

  test('makes no device in a user namespace', async lab => {
    const { stdout } = await lab.berthRun('--cap-add', 'ALL', '--rootfs', lab.rootfs(), 'sh', '-c', attack)
    expect(stdout).toBe('')
  })
})

describe("CVE-2021-21284, CVE-2021-41091: the engine's data", () => {
  const DATA = '/var/lib/berth'
  const RUN = '/run/berth'

  test("is out of reach for a container's ids and other users of the host", async lab => {
    const cid = join(lab.base, 'cid')
    const rootfs = lab.rootfs()
    const command = ['run', '--rm', '--cidfile', cid, '--cgroup-parent', `/${lab.prefix}`, '--rootfs', rootfs]
    const output = join(lab.base, 'output')
    const child = Bun.spawn(
      [
        ...BERTH_COMMAND,
        ...command,
        'sh',
        '-c',
        'cat /proc/self/uid_map; cp /bin/busybox /suid; chmod 4755 /suid; echo up; trap exit TERM; sleep 1000 & wait',
      ],
      {
        stdio: ['ignore', Bun.file(output), 'inherit'],
      },
    )
    try {
      await untilFileHas(output, 'up')
      const [, root = '0'] = readFileSync(output, 'utf8').trim().split(/\s+/)
      expect(Number(root)).toBeGreaterThan(65_536)
      const id = readFileSync(cid, 'utf8')
      const upper = join(DATA, 'containers', id, 'upper')
      expect(existsSync(join(upper, 'suid'))).toBe(true)
      const paths = [DATA, RUN, `${DATA}/state.db`, join(DATA, 'containers'), upper, join(RUN, id)]
      const look = paths.map(path => `ls ${path}/ || cat ${path}`).join('; ')
      const touch = [DATA, RUN, join(DATA, 'containers'), join(DATA, 'containers', id), join(RUN, id)].map(
        path => `touch ${path}/evil`,
      )
      for (const user of [root, '65534', '1000'])
        for (const script of [look, touch.join('; '), `${upper}/suid id -u`]) {
          const tried = spawnSync('setpriv', ['--reuid', user, '--regid', user, '--clear-groups', 'sh', '-c', script])
          expect({ user, script, stdout: tried.stdout.toString() }).toEqual({ user, script, stdout: '' })
        }
      for (const path of [DATA, RUN]) expect(readdirSync(path)).not.toContain('evil')
      expect(statSync(DATA).uid).toBe(0)
    } finally {
      // It reaches the container's program, so that the engine puts everything away itself.
      child.kill('SIGTERM')
      await child.exited
    }
  })
})

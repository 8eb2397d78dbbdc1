/** Configs that can't be run: one clear error that names the culprit, exit status 1, nothing left. And odd ones that can. */

import { beforeAll, describe, expect } from 'bun:test'
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { make } from '../native/init-driver.ts'
import { testIf } from '../support/requirement.ts'
import { type Json, Machine } from './berth-cli.ts'

const FIXTURES = join(import.meta.dir, '../conformance/runtime-spec/config/bad')
const test = testIf('root')

beforeAll(() => {
  make('berth-init')
})

/** Changes the machine and its config, and what the error must say. */
interface BadCase {
  readonly name: string
  readonly says: RegExp
  readonly config?: (config: Json, machine: Machine) => void
  readonly files?: (machine: Machine) => void
}

const mount = (extra: object) => (config: Json) => {
  config['mounts'] = [...(config['mounts'] as unknown as object[]), extra] as unknown as Json
}
const linux = (extra: object) => (config: Json) => Object.assign(config['linux'] ?? {}, extra)
const process_ = (extra: object) => (config: Json) => Object.assign(config['process'] ?? {}, extra)
const IDS = [{ containerID: 0, hostID: 1_400_000, size: 100 }]
const userns = (config: Json) => {
  const namespaces = [...((config['linux'] as Json)['namespaces'] as unknown as object[]), { type: 'user' }]
  Object.assign(config['linux'] ?? {}, { namespaces, uidMappings: IDS, gidMappings: IDS })
}

const CASES: readonly BadCase[] = [
  {
    name: 'a poststart hook that fails',
    says: /poststart hook "\/bin\/busybox": exit status 1/,
    config: config => Object.assign(config, { hooks: { poststart: [{ path: '/bin/busybox', args: ['false'] }] } }),
  },
  {
    name: 'a bundle without config.json',
    says: /config\.json": it does not exist/,
    files: m => rmSync(join(m.bundle, 'config.json')),
  },
  {
    name: 'a bundle that does not exist',
    says: /Cannot open bundle ".*\/bundle"/,
    files: m => rmSync(m.bundle, { recursive: true }),
  },
  {
    name: 'a config.json that is a directory',
    says: /Cannot read ".*config\.json": it is not a regular file/,
    files: m => {
      rmSync(join(m.bundle, 'config.json'))
      mkdirSync(join(m.bundle, 'config.json'))
    },
  },
  {
    name: 'a config.json of 100 MB',
    says: /config\.json": it has 104857600 bytes, expected at most/,
    files: m => truncateSync(join(m.bundle, 'config.json'), 100 * 1024 * 1024),
  },
  {
    name: 'a root that is missing',
    says: /root filesystem ".*rootfs": it does not exist/,
    files: m => rmSync(m.rootfs, { recursive: true }),
  },
  {
    name: 'a root that is a file',
    says: /root filesystem ".*rootfs": it is not a directory/,
    files: m => {
      rmSync(m.rootfs, { recursive: true })
      writeFileSync(m.rootfs, '')
    },
  },
  {
    name: 'a root that is a symbolic link',
    says: /root filesystem ".*rootfs": it is a symbolic link/,
    files: m => {
      rmSync(m.rootfs, { recursive: true })
      symlinkSync('/', m.rootfs)
    },
  },
  {
    name: '/proc of the image as a symbolic link',
    says: /proc.*(ELOOP|ENOTDIR|EEXIST)/,
    files: m => symlinkSync('/tmp', join(m.rootfs, 'proc')),
  },
  {
    name: 'the same mount twice',
    says: /mounts\[\d+\] mounts "tmpfs" on \/twice a second time/,
    config: config => {
      for (let n = 0; n < 2; n++) mount({ destination: '/twice', type: 'tmpfs', source: 'tmpfs' })(config)
    },
  },
  {
    name: 'a bind source that is missing',
    says: /Cannot mount "\/no\/such" at "\/x": the source does not exist/,
    config: mount({ destination: '/x', source: '/no/such', options: ['bind'] }),
  },
  {
    name: 'an unknown filesystem',
    says: /nosuchfs.*ENODEV.*the kernel does not know this file system/,
    config: mount({ destination: '/x', type: 'nosuchfs', source: 'x' }),
  },
  {
    name: 'a uid without a mapping',
    says: /process\.user\.uid is 100, expected an id that linux\.uidMappings has/,
    config: config => {
      userns(config)
      process_({ user: { uid: 100, gid: 0 } })(config)
    },
  },
  {
    name: 'a gid without a mapping',
    says: /process\.user\.gid is 100/,
    config: config => {
      userns(config)
      process_({ user: { uid: 0, gid: 100 } })(config)
    },
  },
  {
    name: 'an additional gid without a mapping',
    says: /process\.user\.additionalGids\[0\] is 100/,
    config: config => {
      userns(config)
      process_({ user: { uid: 0, gid: 0, additionalGids: [100] } })(config)
    },
  },
  {
    name: 'a device owner without a mapping',
    says: /linux\.devices\[0\]\.uid is 100, which linux\.uidMappings lacks/,
    config: config => {
      userns(config)
      linux({ devices: [{ type: 'c', path: '/dev/x', major: 1, minor: 3, uid: 100 }] })(config)
    },
  },
  {
    name: 'an argument of 1 MB',
    says: /E2BIG|argument list too long/i,
    config: process_({ args: ['true', 'x'.repeat(1024 * 1024)] }),
  },
  {
    name: 'a program that is not there',
    says: /exec: "nosuchprogram": executable file not found in \$PATH/,
    config: process_({ args: ['nosuchprogram'] }),
  },
  {
    name: 'a program without x bit',
    says: /permission denied/,
    config: process_({ args: ['/data'] }),
    files: m => writeFileSync(join(m.rootfs, 'data'), '', { mode: 0o644 }),
  },
  {
    name: 'a working directory that is a file',
    says: /process\.cwd.*ENOTDIR|ENOTDIR.*cwd/,
    config: process_({ cwd: '/data' }),
    files: m => writeFileSync(join(m.rootfs, 'data'), ''),
  },
  { name: 'a NUL in a text', says: /process\.args\[1\] has a NUL/, config: process_({ args: ['true', 'a\0b'] }) },
  {
    name: 'a host name that is too long',
    says: /hostname/,
    config: config => Object.assign(config, { hostname: 'h'.repeat(65) }),
  },
  {
    name: 'a sysctl of no namespace',
    says: /linux\.sysctl\["vm\.swappiness"\] would change the host/,
    config: linux({ sysctl: { 'vm.swappiness': '1' } }),
  },
  ...['prestart', 'createRuntime', 'createContainer', 'startContainer'].flatMap((kind): BadCase[] => [
    {
      name: `a ${kind} hook that fails`,
      says: new RegExp(`run a ${kind} hook.*ECHILD.*said so`),
      config: config =>
        Object.assign(config, {
          hooks: { [kind]: [{ path: '/bin/busybox', args: ['sh', '-c', 'echo said so; exit 3'] }] },
        }),
    },
    {
      name: `a ${kind} hook that takes too long`,
      says: new RegExp(`run a ${kind} hook.*ETIMEDOUT`),
      config: config =>
        Object.assign(config, {
          hooks: { [kind]: [{ path: '/bin/busybox', args: ['sleep', '30'], timeout: 1 }] },
        }),
    },
  ]),
]

describe('berth runtime run refuses', () => {
  for (const { name, says, config, files } of CASES)
    test(name, async () => {
      using machine = new Machine()
      machine.configure(each => config?.(each, machine))
      files?.(machine)
      const { status, stderr } = await machine.runBundle()
      expect(stderr).toMatch(says)
      expect(stderr).not.toMatch(/\n\s+at /)
      expect(status).not.toBe(0)
      expect(machine.leftovers()).toEqual([])
    })

  for (const name of readdirSync(FIXTURES))
    test(`the schema's bad fixture ${name}`, async () => {
      using machine = new Machine()
      writeFileSync(join(machine.bundle, 'config.json'), readFileSync(join(FIXTURES, name)))
      const { status, stderr } = await machine.runBundle()
      expect(stderr).toMatch(/^berth: Cannot .+\n$/)
      expect({ status, left: machine.leftovers() }).toEqual({ status: 1, left: [] })
    })

  test('a config.json that ends too early', async () => {
    using machine = new Machine()
    machine.configure()
    const text = readFileSync(join(machine.bundle, 'config.json'), 'utf8')
    for (const part of [0, 0.3, 0.6, 0.999]) {
      writeFileSync(join(machine.bundle, 'config.json'), text.slice(0, Math.floor(text.length * part)))
      const { status, stderr } = await machine.runBundle()
      expect(stderr).toMatch(/expected JSON/)
      expect(status).toBe(1)
    }
  })

  for (const [id, says] of [
    ['../x', /container id "\.\.\/x"/],
    ['..', /container id "\.\."/],
    ['a/b', /container id "a\/b"/],
    ['', /container id ""/],
    ['x'.repeat(2000), /2000 characters, expected at most/],
  ] as const)
    test(`the container id ${JSON.stringify(id.slice(0, 10))} of ${id.length} characters`, async () => {
      using machine = new Machine()
      machine.configure()
      const { status, stderr } = await machine.runBundle(id)
      expect(stderr).toMatch(says)
      expect({ status, left: machine.leftovers() }).toEqual({ status: 1, left: [] })
    })

  test('an id that is taken, and leaves its owner alone', async () => {
    using machine = new Machine()
    machine.configure()
    expect(await machine.create()).toBe(0)
    const { status, stderr } = await machine.runBundle()
    expect(stderr).toMatch(/a container with this id exists/)
    expect(status).toBe(1)
    expect((await machine.run(['state', machine.id])).stdout).toMatch(/"status": *"created"/)
    expect((await machine.run(['delete', '--force', machine.id])).status).toBe(0)
    expect(machine.leftovers()).toEqual([])
  })

  test('a full disk', async () => {
    using machine = new Machine()
    machine.configure()
    mkdirSync(machine.state)
    const script =
      'mount -t tmpfs -o size=4k,nr_inodes=10 tmpfs "$0" && head -c 4096 /dev/zero >"$0/full"; "$@"; s=$?; rm "$0/full"; ls -A "$0" >&2; exit $s'
    const { status, stderr } = await machine.runBundle(machine.id, ['unshare', '-m', 'sh', '-c', script, machine.state])
    expect(stderr).toMatch(/^berth: Cannot .*ENOSPC.*\n(~\n)?$/)
    expect(status).toBe(1)
    expect(machine.leftovers()).toEqual([])
  })
})

describe('berth runtime run takes', () => {
  const runs = async (
    config: (config: Json) => void,
    files: (machine: Machine) => void,
    warns: RegExp,
  ): Promise<void> => {
    using machine = new Machine()
    machine.configure(config)
    files(machine)
    const { status, stderr } = await machine.runBundle()
    expect(stderr).toMatch(warns)
    expect({ status, left: machine.leftovers() }).toEqual({ status: 0, left: [] })
  }

  test('an unknown property, with a warning', () =>
    runs(
      config => Object.assign(config, { nobodyKnows: 1 }),
      () => {},
      /warning.*nobodyKnows/,
    ))
  test('an unknown capability, with a warning', () =>
    runs(process_({ capabilities: { bounding: ['CAP_NOSUCH'] } }), () => {}, /warning.*CAP_NOSUCH/))
  test('10,000 variables', () =>
    runs(process_({ env: ['PATH=/bin', ...Array.from({ length: 10_000 }, (_, n) => `V${n}=${n}`)] }), () => {}, /^$/))
  test('a mount target that is a link out of the tree, inside of it', () =>
    runs(
      mount({ destination: '/link/sub', type: 'tmpfs', source: 'tmpfs' }),
      m => symlinkSync('../../../../../../../inside', join(m.rootfs, 'link')),
      /^$/,
    ))
  for (const kind of ['poststop'])
    test(`a ${kind} hook that fails, with a warning`, () =>
      runs(
        config => Object.assign(config, { hooks: { [kind]: [{ path: '/bin/busybox', args: ['false'] }] } }),
        () => {},
        new RegExp(`warning.*${kind} hook.*exit status 1`),
      ))
})

// Class C of the published escapes: mount points and other paths that a runtime makes in a tree which the container, its image or another
// container that shares a volume can change meanwhile.
import { describe, expect } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { defaultSpec } from '../../src/oci/default-spec.ts'
import type { Mount } from '../../src/oci/runtime-spec.ts'
import { SECRET } from './canary.ts'
import { type Lab, plantLink, securityTest } from './lab.ts'
import { race, swapInContainer } from './race.ts'

const test = securityTest()

function bind(source: string, destination: string, ...options: readonly string[]): Mount {
  return { destination, type: 'bind', source, options: ['rbind', ...options] }
}

/** A volume with a directory that changes places with a link to the host's canary, in a container that shares the volume. */
async function shared(lab: Lab): Promise<{ volume: string } & AsyncDisposable> {
  const volume = join(lab.base, 'volume')
  mkdirSync(join(volume, 'target/below'), { recursive: true })
  plantLink(join(volume, 'evil'), lab.canary.dir)
  const swapper = await swapInContainer(lab, volume, 'target', 'evil')
  return { volume, [Symbol.asyncDispose]: () => swapper[Symbol.asyncDispose]() }
}

describe('CVE-2021-30465, CVE-2024-45310: a mount point exchanged with a link by a container that shares the volume', () => {
  test('is mounted on inside the container, or is an error', async lab => {
    await using disturbed = await shared(lab)
    const tmpfs: Mount = { destination: '/volume/target', type: 'tmpfs', source: 'lost', options: ['size=4096'] }
    const said = await race(lab, {
      // What was mounted outside of the root is not in the container's table.
      args: ['sh', '-c', 'grep -c "tmpfs lost" /proc/self/mountinfo; cat /volume/target/file 2>/dev/null; true'],
      moreMounts: [bind(disturbed.volume, '/volume'), tmpfs],
    })
    expect([...said].filter(text => text !== '1')).toEqual([])
    lab.canary.expectUntouched()
  })

  test('has missing directories and files made inside the container only', async lab => {
    await using disturbed = await shared(lab)
    writeFileSync(join(lab.base, 'plain'), 'plain')
    const said = await race(lab, {
      args: ['sh', '-c', 'grep -c "/plain " /proc/self/mountinfo'],
      moreMounts: [
        bind(disturbed.volume, '/volume'),
        { destination: '/volume/target/made/by/us', type: 'tmpfs', source: 'made', options: ['size=4096'] },
        bind(join(lab.base, 'plain'), '/volume/target/plain'),
      ],
    })
    expect([...said].filter(text => text !== '1')).toEqual([])
    lab.canary.expectUntouched()
  })

  test('shows no file of the host when masked or made read-only there', async lab => {
    await using disturbed = await shared(lab)
    const said = await race(lab, {
      args: ['sh', '-c', 'cat /volume/target/file 2>/dev/null; true'],
      moreMounts: [bind(disturbed.volume, '/volume')],
      linux: { maskedPaths: ['/volume/target/below'], readonlyPaths: ['/volume/target'] },
      process: { cwd: '/volume/target' },
    })
    expect([...said].filter(text => text !== '')).toEqual([])
  })
})

describe('a mount point that is a link of the image', () => {
  for (const target of ['CANARY', '../../../../../../../CANARY', '/proc/self/root/CANARY', '/proc/1/root/CANARY'])
    test(`to ${target} is resolved inside the container`, async lab => {
      const source = join(lab.base, 'source')
      writeFileSync(source, 'from the volume')
      const to = (path: string): string => target.replace(/\/?CANARY/, path)
      const outcome = await lab.run(
        lab.bundle({
          args: ['sh', '-c', 'cat /file-link; cat /dir-link/file'],
          moreMounts: [
            bind(source, '/file-link'),
            { destination: '/dir-link/below', type: 'tmpfs', source: 'tmpfs' },
            { destination: '/dir-link/new', type: 'tmpfs', source: 'tmpfs' },
          ],
          image: rootfs => {
            plantLink(join(rootfs, 'file-link'), to(lab.canary.file))
            plantLink(join(rootfs, 'dir-link'), to(lab.canary.dir))
          },
        }),
      )
      expect(outcome.stdout).not.toContain(SECRET)
      if (outcome.status === 0) expect(outcome.stdout).toContain('from the volume')
    })

  test('CVE-2022-23648: brings nothing of the host up when its content is copied (tmpcopyup)', async lab => {
    for (const target of [lab.canary.dir, `../../../../../..${lab.canary.dir}`]) {
      const outcome = await lab.run(
        lab.bundle({
          args: ['sh', '-c', 'ls -A /data/; cat /data/file'],
          moreMounts: [{ destination: '/data', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup'] }],
          image: rootfs => plantLink(join(rootfs, 'data'), target),
        }),
      )
      expect(outcome.stdout).toBe('')
    }
  })

  for (const destination of ['/../../canary', '/a/../../../canary', '..'])
    test(`CVE-2022-23648: ${destination} stays inside or is refused`, async lab => {
      await lab.run(lab.bundle({ moreMounts: [{ destination, type: 'tmpfs', source: 'tmpfs' }] }))
      await lab.berthRun(
        '--tmpfs',
        destination,
        '-v',
        `${lab.canary.dir}:${destination}x:ro`,
        '--rootfs',
        lab.rootfs(),
        'true',
      )
    })
})

describe('CVE-2021-43784: a mount source that overflows a length', () => {
  for (const bytes of [0x10000 - 1, 0x10000, 0x10000 + 64, 1 << 20])
    test(`of ${bytes} bytes is an error`, async lab => {
      const source = `/${'a/'.repeat(bytes / 2)}`.slice(0, bytes)
      const { status, stdout } = await lab.run(lab.bundle({ args: ['id', '-u'], moreMounts: [bind(source, '/mnt')] }))
      expect({ failed: status > 0, stdout }).toEqual({ failed: true, stdout: '' })
    })
})

describe('CVE-2023-25809: cgroups without a cgroup namespace', () => {
  for (const access of ['ro', 'rw'])
    test(`can't be made outside of the container's own, mounted ${access}`, async lab => {
      const mounts = (defaultSpec().mounts ?? []).map(mount =>
        mount.type === 'cgroup' ? { ...mount, options: ['nosuid', 'noexec', 'nodev', access] } : mount,
      )
      const name = `evil${process.pid}`
      const script = `cd /sys/fs/cgroup; for d in . * */.. */../..; do mkdir $d/${name}; done 2>/dev/null; true`
      const bundle = lab.bundle({ args: ['sh', '-c', script], mounts })
      expect(await lab.run(bundle)).toMatchObject({ status: 0 })
      const outside = execFileSync('find', ['/sys/fs/cgroup', '-name', name]).toString().split('\n').filter(Boolean)
      for (const path of outside) execFileSync('rmdir', [path])
      expect(outside.filter(path => !path.includes(bundle.id))).toEqual([])
    })

  test("are read-only in a container of the engine, and show nobody else's", async lab => {
    const script =
      'cd /sys/fs/cgroup; for d in . *; do mkdir $d/evil && echo MADE; done 2>/dev/null; find . -name "*berth*" | head -3'
    const { status, stdout } = await lab.berthRun('--rootfs', lab.rootfs(), 'sh', '-c', script)
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' })
  })
})

describe('a file that engines make in every container', () => {
  const names = [
    '.krun_config.json',
    'run/.containerenv',
    '.dockerenv',
    'etc/mtab',
    'etc/hosts',
    'etc/hostname',
    'etc/resolv.conf',
  ]
  const image = (lab: Lab, rootfs: string): void => {
    for (const name of names) plantLink(join(rootfs, name), join(lab.canary.dir, name.replaceAll('/', '-')))
  }

  test('CVE-2025-24965, CVE-2019-18837: makes none on the host through a link of its name', async lab => {
    const before = readdirSync(lab.canary.dir)
    await lab.run(lab.bundle({ image: rootfs => image(lab, rootfs) }))
    const rootfs = lab.rootfs()
    image(lab, rootfs)
    expect(await lab.berthRun('--rootfs', rootfs, 'true')).toMatchObject({ status: 0 })
    expect(readdirSync(lab.canary.dir)).toEqual(before)
  })

  test('CVE-2024-5154: makes none on the host through a link at /etc', async lab => {
    const rootfs = lab.rootfs()
    plantLink(join(rootfs, 'etc'), lab.canary.dir)
    const { stdout } = await lab.berthRun(
      '--hostname',
      'inside',
      '--rootfs',
      rootfs,
      'sh',
      '-c',
      'cat /etc/hostname; ls /etc',
    )
    expect(stdout).not.toContain('ptmx')
    const source = join(lab.base, 'hosts')
    writeFileSync(source, 'ours')
    await lab.run(lab.bundle({ moreMounts: [bind(source, '/etc/hosts'), bind(source, '/etc/mtab')], on: rootfs }))
  })

  test('CVE-2021-43816: leaves a file of the host as it is that is mounted in its place', async lab => {
    for (const name of ['hosts', 'hostname', 'resolv.conf', 'passwd']) {
      const volume = `${join(lab.canary.dir, 'hosts')}:/etc/${name}`
      const outcome = await lab.berthRun('-v', volume, '--rootfs', lab.rootfs(), 'cat', `/etc/${name}`)
      expect(outcome).toMatchObject({ status: 0, stdout: `${SECRET}\n` })
    }
  })
})

describe('CVE-2025-9566, CVE-2026-55686: a working directory below a link of the image', () => {
  test('is made inside the container', async lab => {
    const image = (rootfs: string): void => plantLink(join(rootfs, 'l'), lab.canary.dir)
    const outcome = await lab.run(lab.bundle({ args: ['pwd'], process: { cwd: '/l/x' }, image }))
    if (outcome.status === 0) expect(outcome.stdout).toBe(`${lab.canary.dir}/x\n`)
    const rootfs = lab.rootfs()
    image(rootfs)
    await lab.berthRun('-w', '/l/x', '--rootfs', rootfs, 'true')
    await lab.berthRun('-w', '/l/../../../x', '--rootfs', rootfs, 'true')
    expect(readdirSync(lab.canary.dir)).not.toContain('x')
  })
})

describe("CVE-2024-9676: a passwd file that is not what it seems, when a user's name is looked up", () => {
  const user = (lab: Lab, rootfs: string) => lab.berthRun('-u', 'outsider', '--rootfs', rootfs, 'id', '-u')

  for (const [what, plant] of [
    ['a FIFO', path => execFileSync('mkfifo', [path])],
    ['an endless device', path => execFileSync('mknod', [path, 'c', '1', '5'])],
    ['a directory', path => mkdirSync(path)],
    ['a huge file', path => execFileSync('truncate', ['-s', '8T', path])],
    ['a link to itself', path => plantLink(path, 'passwd')],
  ] as readonly (readonly [string, (path: string) => unknown])[])
    for (const name of ['passwd', 'group'])
      test(`as ${what} in the place of /etc/${name} is an error, at once`, async lab => {
        const rootfs = lab.rootfs()
        rmSync(join(rootfs, 'etc', name))
        plant(join(rootfs, 'etc', name))
        const { status, stdout } = await user(lab, rootfs)
        // -1 is the time limit.
        expect({ failed: status > 0, stdout }).toEqual({ failed: true, stdout: '' })
      })

  for (const climb of ['', '../../../../../../..'])
    test(`as a link out of the image (${climb}/…) names nobody of the host`, async lab => {
      const rootfs = lab.rootfs()
      plantLink(join(rootfs, 'etc/passwd'), `${climb}${lab.canary.dir}/passwd`)
      expect((await user(lab, rootfs)).stdout).not.toContain('4321')
      plantLink(join(rootfs, 'etc'), `${climb}${lab.canary.dir}`)
      expect((await user(lab, rootfs)).stdout).not.toContain('4321')
    })
})

describe('a root filesystem', () => {
  test('that is a link, a file or gone is an error', async lab => {
    for (const [name, plant] of [
      ['link', (path: string) => plantLink(path, lab.canary.dir)],
      ['file', (path: string) => writeFileSync(path, '')],
      ['gone', () => undefined],
    ] as const) {
      const bundle = lab.bundle({})
      const config = JSON.parse(readFileSync(join(bundle.dir, 'config.json'), 'utf8')) as { root: { path: string } }
      config.root.path = join(lab.base, name)
      plant(config.root.path)
      writeFileSync(join(bundle.dir, 'config.json'), JSON.stringify(config))
      const { status } = await lab.run(bundle)
      if (name !== 'link') expect(status).not.toBe(0)
      expect(lstatSync(join(lab.base, name), { throwIfNoEntry: false })?.isDirectory() ?? false).toBe(false)
    }
  })
})

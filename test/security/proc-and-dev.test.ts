// Class A of the published escapes: a runtime that writes to /proc, /dev or a security label before the container's root is the only
// root, and is led to the host's by what an image or a volume has there.
import { describe, expect } from 'bun:test'
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { defaultSpec } from '../../src/oci/default-spec.ts'
import type { Mount } from '../../src/oci/runtime-spec.ts'
import { SECRET } from './canary.ts'
import { type BundleOptions, type Lab, plantLink, securityTest, untilFileHas } from './lab.ts'
import { race, swapInContainer, swapOnHost } from './race.ts'

const test = securityTest()
const PROCFS = '9fa0'
const CORE_PATTERN = '/proc/sys/kernel/core_pattern'

function bind(source: string, destination: string, ...options: readonly string[]): Mount {
  return { destination, type: 'bind', source, options: ['rbind', ...options] }
}

function without(...destinations: readonly string[]): readonly Mount[] {
  return (defaultSpec().mounts ?? []).filter(({ destination }) => !destinations.includes(destination))
}

/** A directory that looks like /proc to who does not ask for its filesystem's type. */
function fakeProc(lab: Lab, name: string): string {
  const dir = join(lab.base, name)
  for (const path of ['self/attr/apparmor', 'sys/net/ipv4', 'sys/kernel'])
    mkdirSync(join(dir, path), { recursive: true })
  for (const path of ['self/attr/exec', 'self/attr/apparmor/exec', 'sys/kernel/shmmni', 'sys/kernel/core_pattern'])
    writeFileSync(join(dir, path), '')
  return dir
}

describe('CVE-2019-16884: a volume over /proc', () => {
  const destinations = [
    '/proc',
    '//proc',
    '/proc/.',
    '/proc/',
    '/proc/self/attr',
    '//proc/self/attr',
    '/./proc/sys/kernel',
  ]
  for (const destination of destinations)
    test(`at ${destination} is refused`, async lab => {
      const fake = fakeProc(lab, 'fake')
      const source = destination.includes('attr') ? join(fake, 'self/attr') : fake
      const outcome = await lab.run(
        lab.bundle({ args: ['stat', '-f', '-c', '%t', '/proc'], moreMounts: [bind(source, destination)] }),
      )
      expect(outcome).toMatchObject({ stdout: '' })
      expect(outcome.status).not.toBe(0)
      expect(outcome.stderr).toContain('proc')
    })

  for (const [link, below] of [
    ['/proc', ''],
    ['/proc/self', 'attr'],
    ['../../../proc/sys', 'kernel'],
  ] as const)
    test(`through the image's link to ${link} is refused, or written to by nobody`, async lab => {
      const fake = fakeProc(lab, 'fake')
      const source = below === '' ? fake : join(fake, link.endsWith('sys') ? 'sys' : 'self', below)
      const bundle = lab.bundle({
        args: ['true'],
        linux: { sysctl: { 'kernel.shmmni': '4000' } },
        moreMounts: [bind(source, join('/link', below))],
        image: rootfs => plantLink(join(rootfs, 'link'), link),
      })
      await lab.run(bundle)
      for (const file of ['self/attr/exec', 'self/attr/apparmor/exec', 'sys/kernel/shmmni', 'sys/kernel/core_pattern'])
        expect(readFileSync(join(fake, file), 'utf8')).toBe('')
    })
})

describe('CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: an image whose mount point is a link', () => {
  for (const name of ['proc', 'sys'])
    for (const target of ['/x', '../../../../..', 'CANARY'])
      test(`/${name} -> ${target} is refused`, async lab => {
        const options: BundleOptions = {
          args: ['stat', '-f', '-c', '%t', `/${name}`],
          image: rootfs => plantLink(join(rootfs, name), target === 'CANARY' ? lab.canary.dir : target),
        }
        const outcome = await lab.run(lab.bundle(options))
        expect(outcome.status).not.toBe(0)
        expect(outcome.stdout).toBe('')
      })

  test('a /proc that is exchanged with a link to the host while containers are made is procfs or an error', async lab => {
    const rootfs = lab.rootfs()
    plantLink(join(rootfs, 'evil'), lab.canary.dir)
    await using _ = await swapOnHost(join(rootfs, 'proc'), join(rootfs, 'evil'))
    const said = await race(lab, { on: rootfs, args: ['stat', '-f', '-c', '%t', '/proc'] })
    expect([...said].filter(type => type !== PROCFS)).toEqual([])
  })
})

/** As the one of the host, with `entries` put over it; for an image that a config lets have its own /dev. */
function devVolume(lab: Lab, links: Readonly<Record<string, string>>): string {
  const dir = join(lab.base, 'dev')
  for (const name of ['pts', 'shm', 'mqueue']) mkdirSync(join(dir, name), { recursive: true })
  for (const [name, target] of Object.entries(links)) plantLink(join(dir, name), target)
  return dir
}

describe('CVE-2025-31133: /dev/null of the container as the cover of masked paths', () => {
  const attack = ['sh', '-c', `echo '|/evil' > /proc/timer_list; echo '|/evil' > /proc/keys; cat /proc/timer_list`]

  test('is not used when it is a link of the image', async lab => {
    const image = (rootfs: string): void => plantLink(join(rootfs, 'dev/null'), CORE_PATTERN)
    const outcome = await lab.run(lab.bundle({ args: attack, mounts: without('/dev'), image }))
    if (outcome.status === 0) expect(outcome.stdout).toBe('')
  })

  test('is not used when it is a link of a volume at /dev', async lab => {
    const dev = devVolume(lab, { null: CORE_PATTERN })
    const mounts = [...without('/dev', '/dev/pts', '/dev/shm', '/dev/mqueue'), bind(dev, '/dev')]
    const outcome = await lab.run(lab.bundle({ args: attack, mounts }))
    expect(outcome.stdout).toBe('')
  })

  test('is not used when it becomes a link while the container is made', async lab => {
    const dev = devVolume(lab, { evil: CORE_PATTERN })
    writeFileSync(join(dev, 'null'), '')
    await using _ = await swapInContainer(lab, dev, 'null', 'evil')
    const mounts = [...without('/dev', '/dev/pts', '/dev/shm', '/dev/mqueue'), bind(dev, '/dev')]
    const said = await race(lab, { args: attack, mounts })
    expect([...said].filter(text => text !== '')).toEqual([])
  })
})

describe('a terminal at /dev/console', () => {
  /** Runs a container with a terminal; what it wrote to /said, null when it could not be made. */
  async function withTerminal(lab: Lab, options: BundleOptions): Promise<string | null> {
    const script = 'stat -L -c "%F %t" /dev/console > /said 2>&1; echo end >> /said; sleep 1000'
    const process = { ...options.process, terminal: true }
    const bundle = lab.bundle({ args: ['sh', '-c', script], ...options, process })
    const path = join(lab.base, 'console.sock')
    const server = createServer(socket => socket.resume()).listen(path)
    try {
      const created = await lab.runtime('create', '--bundle', bundle.dir, '--console-socket', path, bundle.id)
      if (created.status !== 0) return null
      expect(await lab.runtime('start', bundle.id)).toMatchObject({ status: 0 })
      const said = join(bundle.rootfs, 'said')
      await untilFileHas(said, 'end')
      await lab.runtime('delete', '--force', bundle.id)
      return readFileSync(said, 'utf8').replace('end\n', '')
    } finally {
      server.close()
    }
  }

  test('is the terminal when nobody interferes', async lab => {
    expect(await withTerminal(lab, {})).toBe('character special file 88\n')
  })

  test('CVE-2026-88264: makes no file on the host through the link of an image', async lab => {
    const image = (rootfs: string): void => plantLink(join(rootfs, 'dev/console'), join(lab.canary.dir, 'console'))
    const said = await withTerminal(lab, { mounts: without('/dev', '/dev/shm', '/dev/mqueue'), image })
    if (said !== null) expect(said).toBe('character special file 88\n')
  })

  test('CVE-2026-88264: makes no file on the host through the link of a volume at /dev', async lab => {
    const dev = devVolume(lab, { console: join(lab.canary.dir, 'console') })
    const pts = (defaultSpec().mounts ?? []).filter(({ destination }) => destination === '/dev/pts')
    const mounts = [...without('/dev', '/dev/pts', '/dev/shm', '/dev/mqueue'), bind(dev, '/dev'), ...pts]
    const said = await withTerminal(lab, { mounts })
    if (said !== null) expect(said).toBe('character special file 88\n')
  })

  test('CVE-2025-52565: is no file of the host when the image makes /dev/pts/0 a link', async lab => {
    const image = (rootfs: string): void => plantLink(join(rootfs, 'dev/pts/0'), lab.canary.file)
    const said = await withTerminal(lab, { mounts: without('/dev', '/dev/pts', '/dev/shm', '/dev/mqueue'), image })
    if (said !== null) expect(said).toBe('character special file 88\n')
  })
})

describe('CVE-2025-52881: settings and labels through a redirected procfs', () => {
  const sysctl = { 'net.ipv4.ip_unprivileged_port_start': '99' }

  test('a sysctl reaches its own file although a volume covers the way to it', async lab => {
    const fake = fakeProc(lab, 'fake')
    plantLink(join(fake, 'sys/net/ipv4/ip_unprivileged_port_start'), CORE_PATTERN)
    for (const [link, source] of [
      ['/proc/sys', 'sys'],
      ['/proc/sys/net', 'sys/net'],
      ['/proc', ''],
    ] as const) {
      const outcome = await lab.run(
        lab.bundle({
          args: ['cat', '/proc/sys/net/ipv4/ip_unprivileged_port_start'],
          linux: { sysctl },
          moreMounts: [bind(join(fake, source), '/link')],
          image: rootfs => plantLink(join(rootfs, 'link'), link),
        }),
      )
      // What covers its own /proc is the container's affair; the host's settings are not.
      lab.canary.expectUntouched()
      if (outcome.status === 0) expect(outcome.stdout).not.toContain(SECRET)
    }
  })

  test('a sysctl is set once in the real procfs', async lab => {
    const outcome = await lab.run(
      lab.bundle({ args: ['cat', '/proc/sys/net/ipv4/ip_unprivileged_port_start'], linux: { sysctl } }),
    )
    expect(outcome).toEqual({ status: 0, stdout: '99\n', stderr: '' })
  })
})

describe('CVE-2026-41579, CVE-2026-47766: an image whose /dev is a link to the host', () => {
  for (const [what, mounts] of [
    ['with a filesystem of its own there', without()],
    ['without', without('/dev')],
    ['with nothing below it', without('/dev', '/dev/pts', '/dev/shm', '/dev/mqueue')],
  ] as const)
    test(`${what} has its devices made inside the container only`, async lab => {
      const image = (rootfs: string): void => plantLink(join(rootfs, 'dev'), lab.canary.dir)
      await lab.run(lab.bundle({ args: ['true'], mounts, image }))
      expect(readdirSync(lab.canary.dir).sort()).toEqual(['empty', 'file', 'hosts', 'null', 'passwd', 'ptmx'])
    })
})

describe('CVE-2026-88265: the standard streams are not looked up in the container', () => {
  for (const where of ['image', 'volume'] as const)
    test(`/dev/null of the ${where} as a link to a host file leaves that file its owner and content`, async lab => {
      const dev = devVolume(lab, { null: '/hostfile' })
      const none = without('/dev', '/dev/pts', '/dev/shm', '/dev/mqueue')
      const outcome = await lab.run(
        lab.bundle({
          args: ['sh', '-c', 'readlink /proc/self/fd/0; echo scratched >&0'],
          process: { user: { uid: 1000, gid: 1000 } },
          mounts: [...none, bind(lab.canary.dir, '/host'), ...(where === 'volume' ? [bind(dev, '/dev')] : [])],
          image: rootfs => {
            symlinkSync('/host/file', join(rootfs, 'hostfile'))
            if (where === 'image') plantLink(join(rootfs, 'dev/null'), '/hostfile')
          },
        }),
      )
      expect(outcome.stdout).not.toContain('host')
    })
})

describe('GHSA-6fw5-f8r9-fgfm, GHSA-7ww5-4wqc-m92c: what tells about the whole machine', () => {
  const masked = [
    ...[
      'acpi',
      'asound',
      'interrupts',
      'kcore',
      'keys',
      'latency_stats',
      'sched_debug',
      'scsi',
      'timer_list',
      'timer_stats',
    ].map(name => `/proc/${name}`),
    ...['/sys/firmware', '/sys/devices/virtual/powercap', '/sys/devices/system/cpu/cpu0/thermal_throttle'],
  ]
  const readonly = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']

  test('is empty or absent in a container of the engine', async lab => {
    const look = (path: string): string =>
      `if [ -d ${path} ]; then n=$(ls -A ${path} | wc -l); else n=$(head -c 100 ${path} 2>/dev/null | wc -c); fi; echo ${path} $n`
    const { stdout, stderr } = await lab.berthRun('--rootfs', lab.rootfs(), 'sh', '-c', masked.map(look).join('\n'))
    expect(stderr).toBe('')
    expect(stdout.trimEnd().split('\n')).toEqual(masked.map(path => `${path} 0`))
  })

  for (const userns of ['auto', 'host'])
    test(`can't be written to by a container of the engine with --userns ${userns}`, async lab => {
      const look = readonly.map(
        path => `grep " $(readlink -f ${path}) " /proc/mounts | tail -1 | awk '{print $2, substr($4,1,2)}'`,
      )
      const script = `${look.join('\n')}\necho h > /proc/sysrq-trigger && echo WRITTEN`
      const rootfs = lab.rootfs()
      const { stdout } = await lab.berthRun('--userns', userns, '--rootfs', rootfs, 'sh', '-c', script)
      const there = readonly.filter(path => stdout.includes(path))
      expect(stdout.trimEnd().split('\n')).toEqual(there.map(path => `${path} ro`))
      expect(there).toContain('/proc/sys')
    })
})

import { describe, expect } from 'bun:test'
import { readdirSync } from 'node:fs'
import { EngineBox } from '../engine/engine-box.ts'
import type { Outcome } from '../runtime/verbs-machine.ts'
import { testIf } from '../support/requirement.ts'
import { type ArchiveChanges, basePackages, serveArchive, type TestArchive } from './deb-archive.ts'

const test = testIf('root', 'overlay', 'idmapped mounts', 'command busybox')

async function bootstrap(box: EngineBox, archive: TestArchive, ...args: readonly string[]): Promise<Outcome> {
  const keyring = box.file('keyring.asc', archive.keyring)
  return await box.berth([
    'image',
    'bootstrap',
    '--quiet',
    '--mirror',
    archive.url,
    '--keyring',
    keyring,
    ...args,
    'debian:bookworm',
  ])
}

function expectNothingLeft(box: EngineBox): void {
  expect(readdirSync(box.path('data/bootstrap'))).toEqual([])
  expect(readdirSync(box.path('data/containers'))).toEqual([])
}

describe('berth image bootstrap', () => {
  test('makes an image that runs, of the packages that every system has', async () => {
    await using box = new EngineBox()
    await using archive = await serveArchive()
    const made = await bootstrap(box, archive)
    expect(made).toMatchObject({ stderr: '', status: 0 })
    expect(made.stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/)
    const ran = await box.run(
      'debian:bookworm',
      'cat',
      '/etc/os-release',
      '/etc/apt/sources.list.d/debian.sources',
      '/var/lib/dpkg/calls',
    )
    expect(ran.stdout).toContain('NAME=Test\nTypes: deb\n')
    expect(ran.stdout).toContain(`URIs: ${archive.url}\nSuites: bookworm bookworm-updates bookworm-security\n`)
    expect(ran.stdout).toContain('--install base-files.deb\n')
    expect(ran.stdout).toContain(`configured ${Date.UTC(2026, 6, 11, 10, 16, 37) / 1000}\n`)
    const found = await box.run(
      'debian:bookworm',
      'find',
      '/bin/sh',
      '/usr/bin/apt',
      '/var/log',
      '/var/cache/apt',
      '/mnt',
      '-perm',
      '-1',
    )
    // Links of the merged /usr lead there; what tells of this run is gone.
    expect(found.stdout.trim().split('\n')).toEqual([
      '/bin/sh',
      '/usr/bin/apt',
      '/var/log',
      '/var/cache/apt',
      '/var/cache/apt/archives',
      '/mnt',
    ])
    expectNothingLeft(box)
  })

  test('gives the same image of the same archive, whenever it is run', async () => {
    await using box = new EngineBox()
    await using archive = await serveArchive()
    const [first, second] = [await bootstrap(box, archive), await bootstrap(box, archive, '--tag', 'other:1')]
    expect(first).toMatchObject({ status: 0 })
    expect(second.stdout).toBe(first.stdout)
  })

  test('takes what --include names, and leaves apt out of the variant essential', async () => {
    await using box = new EngineBox()
    const more = { name: 'more', fields: { Depends: 'evenmore' }, files: [{ name: './opt/more', content: '' }] }
    const evenMore = { name: 'evenmore', files: [{ name: './opt/evenmore', content: '' }] }
    await using archive = await serveArchive({ packages: [...basePackages(), more, evenMore] })
    expect(await bootstrap(box, archive, '--variant', 'essential', '--include', 'more')).toMatchObject({
      stderr: '',
      status: 0,
    })
    const found = await box.run('debian:bookworm', 'find', '/opt', '/usr/bin/apt')
    expect(found.stdout).toBe('/opt\n/opt/evenmore\n/opt/more\n')
  })

  const BAD: readonly (readonly [string, ArchiveChanges, string])[] = [
    ['a release that nobody signed', { served: unsigned }, 'it is no signed text'],
    [
      'a release that was changed',
      { served: edit('InRelease', text => text.replace('Origin: Test', 'Origin: Tost')) },
      'no valid signature',
    ],
    [
      'the release of another suite',
      { release: { Suite: 'oldstable', Codename: 'bullseye' } },
      'it is the release of oldstable (bullseye)',
    ],
    [
      'a release that is too old',
      { release: { 'Valid-Until': 'Sun, 12 Jul 2026 10:16:37 UTC' } },
      'it was valid until 2026-07-12T10:16:37.000Z',
    ],
    ['a list of packages that was changed', { served: flip('Packages.gz') }, 'its content has the digest'],
    ['a package that was changed', { served: flip('apt_1.0_amd64.deb') }, 'its content has the digest'],
    [
      'a package that is cut off',
      { served: (path, bytes) => (path.endsWith('apt_1.0_amd64.deb') ? bytes.subarray(0, 100) : bytes) },
      'it ended early',
    ],
    [
      'a package that is too long',
      { served: (path, bytes) => (path.endsWith('apt_1.0_amd64.deb') ? Buffer.concat([bytes, bytes]) : bytes) },
      'it has more than',
    ],
    [
      'a package that is missing',
      { served: (path, bytes) => (path.endsWith('apt_1.0_amd64.deb') ? null : bytes) },
      'it is not there',
    ],
    ['an architecture that it does not have', { release: { Architectures: 'm68k' } }, 'has m68k'],
    [
      'a package that needs one that is not there',
      { packages: [...basePackages(), need('nothing')] },
      'needy needs nothing',
    ],
    [
      'packages that wait for each other',
      { packages: [...basePackages(), need('needy', 'Pre-Depends')] },
      'must be configured before itself',
    ],
    [
      'packages that fail to configure',
      { packages: [...basePackages(), broken('./etc/unfit')] },
      'ended with status 1:\ncannot configure unfit',
    ],
    [
      'packages that are left half configured',
      { packages: [...basePackages(), broken('./etc/broken')] },
      'half configured',
    ],
    [
      'a package whose files leave the image',
      { packages: [...basePackages(), broken('../../etc/canary')] },
      'Cannot unpack package needy',
    ],
  ]
  for (const [what, changes, message] of BAD)
    test(`refuses ${what}, and leaves nothing`, async () => {
      await using box = new EngineBox()
      await using archive = await serveArchive(changes)
      const made = await bootstrap(box, archive)
      expect(made.stderr).toContain(message)
      expect(made.stderr.trim().split('\n').length).toBeLessThan(4)
      expect(made).toMatchObject({ stdout: '', status: 125 })
      if (archive.requests.some(path => path.startsWith('pool/'))) expectNothingLeft(box)
    })

  test('begins anew with what an archive cuts off or can not give right now', async () => {
    await using box = new EngineBox()
    const asked = new Map<string, number>()
    await using archive = await serveArchive({
      served: (path, bytes) => {
        const count = (asked.get(path) ?? 0) + 1
        asked.set(path, count)
        return count === 1 ? bytes.subarray(0, bytes.length - 20) : bytes
      },
    })
    await using whole = await serveArchive()
    const made = await bootstrap(box, whole, '--tag', 'whole:1')
    // InRelease verifies itself: cut off it is no signed text, and an error.
    expect(made).toMatchObject({ status: 0 })
    expect(await bootstrap(box, archive)).toMatchObject({ status: 125 })
    for (const path of [...asked.keys()].filter(each => !each.endsWith('InRelease'))) asked.delete(path)
    const repaired = await bootstrap(box, archive, '--tag', 'repaired:1')
    expect(repaired).toMatchObject({ stderr: '', status: 0 })
    expect([...asked].filter(([path]) => path.startsWith('pool/')).every(([, count]) => count === 2)).toBe(true)
  })

  test("trusts the distribution's own keys only, unless told otherwise", async () => {
    await using box = new EngineBox()
    await using archive = await serveArchive()
    const made = await box.berth(['image', 'bootstrap', '--mirror', archive.url, 'debian:bookworm'])
    expect(made.stderr).toContain("no valid signature of the archive's keyring")
    expect(archive.requests.every(path => path.endsWith('InRelease'))).toBe(true)
  })
})

function unsigned(path: string, bytes: Uint8Array): Uint8Array {
  return path.endsWith('InRelease') ? Buffer.from('Origin: Test\nSuite: bookworm\n') : bytes
}

function edit(name: string, change: (text: string) => string): (path: string, bytes: Uint8Array) => Uint8Array {
  return (path, bytes) => (path.endsWith(name) ? Buffer.from(change(Buffer.from(bytes).toString())) : bytes)
}

/** One bit in the middle is another. */
function flip(name: string): (path: string, bytes: Uint8Array) => Uint8Array {
  return (path, bytes) => {
    if (!path.endsWith(name)) return bytes
    const changed = Buffer.from(bytes)
    const middle = changed.length >> 1
    changed[middle] = (changed[middle] ?? 0) ^ 1
    return changed
  }
}

function need(name: string, field = 'Depends'): ReturnType<typeof basePackages>[number] {
  return { name: 'needy', fields: { Essential: 'yes', [field]: name }, files: [] }
}

function broken(name: string): ReturnType<typeof basePackages>[number] {
  return { name: 'needy', fields: { Essential: 'yes' }, files: [{ name, content: 'half configured' }] }
}

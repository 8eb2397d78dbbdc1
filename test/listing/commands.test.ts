/** What the commands about images print, and how they fail. */
import { describe, expect, test } from 'bun:test'
import { rmSync, writeFileSync } from 'node:fs'
import { StateDatabase } from '../../src/engine/state-database.ts'
import { sha256 } from '../image/layout-builder.ts'
import { configOf, dockerArchive, layerOf, StoreBox } from './store-box.ts'

const CREATED = '2020-01-02T03:04:05Z'
const older = {
  layers: [layerOf('shared', 'x'.repeat(1500)), layerOf('older')],
  tags: ['example.com/older:1', 'older:2'],
  document: {
    config: {
      Cmd: ['sh'],
      Labels: { tier: 'low', empty: '' },
      ExposedPorts: { '80/tcp': {} },
      Healthcheck: { Test: ['NONE'] },
    },
    history: [
      { created: CREATED, created_by: `/bin/sh -c ${'a'.repeat(60)}` },
      { created: CREATED, created_by: 'ENV', empty_layer: true, comment: 'no layer' },
    ],
  },
}
const newer = {
  layers: [older.layers[0] ?? layerOf('')],
  tags: ['newer'],
  document: { created: '2021-01-02T03:04:05Z', config: { Labels: { tier: 'high' } } },
}
const olderId = sha256(configOf(older))
const newerId = sha256(configOf(newer))

async function filled(): Promise<StoreBox> {
  const box = new StoreBox()
  await box.load(dockerArchive(older, newer))
  return box
}

/** Makes believe that a container was made of an image. */
async function addContainer(box: StoreBox, name: string): Promise<void> {
  const { sqlite } = new StateDatabase(box.data)
  const image = (await box.store()).records.named(name)
  sqlite.query("INSERT INTO container_content VALUES ('c0ffee', 'blob', ?)").run(image?.manifests[0]?.digest ?? '')
}

const lines = (text: string): string[] => text.trimEnd().split('\n').filter(Boolean)

describe('berth images', () => {
  test('lists a name per line, the newest image first', async () => {
    using box = await filled()
    const table = lines(
      await box.ok('images', '--format', 'table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedAt}}\t{{.Size}}'),
    )
    const cells = table.map(line => line.split(/ {2,}/))
    expect(cells).toEqual([
      ['REPOSITORY', 'TAG', 'IMAGE ID', 'CREATED AT', 'SIZE'],
      ['newer', 'latest', newerId.slice(7, 19), '2021-01-02 03:04:05 +0000 UTC', '1.5kB'],
      ['older', '2', olderId.slice(7, 19), '2020-01-02 03:04:05 +0000 UTC', '1.5kB'],
      ['example.com/older', '1', olderId.slice(7, 19), '2020-01-02 03:04:05 +0000 UTC', '1.5kB'],
    ])
    const [head] = lines(await box.ok('images'))
    expect(head?.split(/ {2,}/)).toEqual(['REPOSITORY', 'TAG', 'IMAGE ID', 'CREATED', 'SIZE'])
  })

  test('gives ids once each with --quiet, and whole ones with --no-trunc', async () => {
    using box = await filled()
    expect(lines(await box.ok('images', '-q', '--no-trunc'))).toEqual([newerId, olderId])
  })

  const filters: readonly (readonly [filters: readonly string[], tags: readonly string[]])[] = [
    [['label=tier'], ['latest', '2', '1']],
    [['label=tier=low'], ['2', '1']],
    [
      ['label=tier', 'label=empty'],
      ['2', '1'],
    ],
    [['label=empty='], ['2', '1']],
    [['label!=empty'], ['latest']],
    [['before=newer'], ['2', '1']],
    [['since=older:2'], ['latest']],
    [['until=2020-06-01'], ['2', '1']],
    [['until=24h'], ['latest', '2', '1']],
    [['until=1000000000'], []],
    [['reference=older'], ['2']],
    [['reference=*older*:1'], []],
    [['reference=*/older'], ['1']],
    [
      ['reference=*:2', 'reference=newer'],
      ['latest', '2'],
    ],
    [['dangling=true'], []],
    [['dangling=false', 'label=tier=high'], ['latest']],
  ]
  test('filters', async () => {
    using box = await filled()
    for (const [given, tags] of filters) {
      const options = given.flatMap(each => ['--filter', each])
      expect([given, lines(await box.ok('images', '--format', '{{.Tag}}', ...options))]).toEqual([given, [...tags]])
    }
    expect(lines(await box.ok('images', '--format', '{{.Tag}}', 'example.com/older'))).toEqual(['1'])
  }, 60_000)

  test('refuses filters and templates that it does not know', async () => {
    using box = await filled()
    const bad: readonly (readonly [args: readonly string[], why: string])[] = [
      [['--filter', 'foo=bar'], 'Cannot filter images by "foo"'],
      [['--filter', 'dangling'], 'Cannot use filter "dangling": expected NAME=VALUE'],
      [['--filter', 'dangling=maybe'], 'expected true or false'],
      [['--filter', 'until=soon'], 'expected a duration'],
      [['--filter', 'before=nope'], 'Cannot find image "nope"'],
      [['--filter', 'reference=['], 'Cannot use pattern "["'],
      [['--format', '{{.Nope}}'], `template: :1:2: executing "" at <.Nope>: can't evaluate field Nope in type image`],
      [['--format', '{{.ID'], 'template: :1: unclosed action'],
      [['a', 'b'], 'expected one'],
    ]
    for (const [args, why] of bad) {
      const { status, stdout, stderr } = await box.berth(['images', ...args])
      expect(stderr).toContain(why)
      expect([status, stdout]).toEqual([125, ''])
    }
  }, 60_000)

  test('shows an image without a name as <none>, and control characters of labels harmlessly', async () => {
    using box = await filled()
    await box.load(dockerArchive({ layers: [layerOf('other')], tags: ['newer'] }))
    const format = '{{.Repository}} {{.Tag}} {{.Digest}}'
    expect(lines(await box.ok('images', '--filter', 'dangling=true', '--format', format))).toEqual([
      '<none> <none> <none>',
    ])
  })
})

describe('berth inspect', () => {
  test('prints the shape of the Engine API', async () => {
    using box = await filled()
    const [image] = JSON.parse(await box.ok('image', 'inspect', 'older:2'))
    expect(image).toMatchObject({
      Id: olderId,
      RepoTags: ['example.com/older:1', 'older:2'],
      Created: CREATED,
      Architecture: 'amd64',
      Os: 'linux',
      Size: 1505,
      Config: { Cmd: ['sh'], Labels: { tier: 'low' }, ExposedPorts: { '80/tcp': {} }, Healthcheck: { Test: ['NONE'] } },
      RootFS: { Type: 'layers', Layers: older.layers.map(sha256) },
      GraphDriver: { Name: 'overlay2' },
      Descriptor: { mediaType: 'application/vnd.oci.image.manifest.v1+json' },
    })
    expect(image.RepoDigests).toEqual(
      [image.Descriptor.digest, image.Descriptor.digest].map(
        (digest, index) => `${['example.com/older', 'older'][index]}@${digest}`,
      ),
    )
    expect(image.GraphDriver.Data.LowerDir.split(':')).toHaveLength(2)
  })

  test('knows a name, an id, its beginning and a digest, and prints what it finds although others are missing', async () => {
    using box = await filled()
    const { status, stdout, stderr } = await box.berth([
      'inspect',
      '-f',
      '{{.Id}}',
      'older:2',
      olderId,
      olderId.slice(7, 15),
      'nope',
      'newer',
    ])
    expect(lines(stdout)).toEqual([olderId, olderId, olderId, newerId])
    expect(stderr).toBe('berth: Cannot inspect "nope": no container and no image has that name or id\n')
    expect(status).toBe(1)
  })

  test('looks for one kind only with --type', async () => {
    using box = await filled()
    expect((await box.berth(['inspect', '--type', 'container', 'newer'])).stderr).toContain(
      'Cannot find container "newer"',
    )
    expect((await box.berth(['inspect', '--type', 'volume', 'newer'])).stderr).toContain('Cannot inspect type "volume"')
  })

  test('gives templates maps, whose absent keys are no error', async () => {
    using box = await filled()
    const format =
      '{{.Config.Labels.tier}} {{.Config.Labels.nope}} {{range $k, $v := .Config.ExposedPorts}}{{$k}}{{end}} {{json .Config.Cmd}}'
    expect(await box.ok('inspect', '--format', format, 'older:2')).toBe('low <no value> 80/tcp ["sh"]\n')
  })
})

describe('berth history', () => {
  test('shows the steps, the last first, with the sizes of the layers, and layers that nobody told of', async () => {
    using box = await filled()
    const format = '{{.ID}}|{{.CreatedBy}}|{{.Size}}|{{.Comment}}'
    expect(lines(await box.ok('history', '--format', format, 'older:2'))).toEqual([
      `${olderId.slice(7, 19)}||5B|`,
      '<missing>|ENV|0B|no layer',
      `<missing>|/bin/sh -c ${'a'.repeat(33)}…|1.5kB|`,
    ])
    const whole = lines(await box.ok('history', '--no-trunc', '--human=false', '--format', format, 'older:2'))
    expect(whole[0]).toBe(`${olderId}||5|`)
    expect(whole[2]).toBe(`<missing>|/bin/sh -c ${'a'.repeat(60)}|1500|`)
    expect(lines(await box.ok('history', '-q', 'older:2'))).toEqual([olderId.slice(7, 19), '<missing>', '<missing>'])
  })
})

describe('berth tag and rmi', () => {
  test('take a name at a time, and with the last one the image and what only it needed', async () => {
    using box = await filled()
    await box.ok('tag', 'older:2', 'registry.test:5000/a/b')
    expect(await box.ok('rmi', 'older:2', 'example.com/older:1')).toBe(
      'Untagged: older:2\nUntagged: example.com/older:1\n',
    )
    const [untagged, deleted, ...layers] = lines(await box.ok('rmi', 'registry.test:5000/a/b'))
    expect([untagged, deleted]).toEqual(['Untagged: registry.test:5000/a/b:latest', `Deleted: ${olderId}`])
    // The lower layer is the newer image's too.
    expect(layers).toEqual([`Deleted: ${sha256(older.layers[1] ?? '')}`])
    expect(await box.ok('image', 'verify')).toBe('All content is as its digests say.\n')
    await box.ok('rmi', newerId.slice(7, 19))
    const store = await box.store()
    expect([await Array.fromAsync(store.content.list()), await store.layers.list()]).toEqual([[], []])
  }, 30_000)

  test('want --force for an id with names in several repositories', async () => {
    using box = await filled()
    const { status, stderr } = await box.berth(['rmi', olderId.slice(7, 19)])
    expect(stderr).toContain('it has names in 2 repositories, expected one or --force')
    expect(status).toBe(1)
    expect(lines(await box.ok('rmi', '-f', olderId.slice(7, 19)))[2]).toBe(`Deleted: ${olderId}`)
  })

  test('leave an image that a container was made of, unless forced, and then its content', async () => {
    using box = await filled()
    await addContainer(box, 'docker.io/library/newer:latest')
    const { status, stderr } = await box.berth(['rmi', 'newer'])
    expect(stderr).toContain('container c0ffee was made of it, expected none or --force')
    expect(status).toBe(1)
    await box.ok('rmi', '--force', 'newer')
    expect(await (await box.store()).content.find(sha256(configOf(newer)) as never)).toBe(null)
  })

  test('remove what they can, and tell of the rest', async () => {
    using box = await filled()
    const { status, stdout, stderr } = await box.berth(['rmi', 'nope', 'newer'])
    expect(stderr).toBe('berth: Cannot find image "nope": no image in the store has that name or id\n')
    expect(stdout).toContain('Untagged: newer:latest')
    expect(status).toBe(1)
    expect((await box.berth(['rmi', '-f', 'nope'])).status).toBe(0)
  })

  test('leave content to the collector with --no-prune', async () => {
    using box = await filled()
    expect(await box.ok('rmi', '--no-prune', 'newer')).toBe('Untagged: newer:latest\n')
    expect((await Array.fromAsync((await box.store()).content.list())).length).toBe(6)
  })

  test('refuse names that are none', async () => {
    using box = await filled()
    for (const name of ['UPPER', `x@sha256:${'0'.repeat(64)}`, 'a:b:c', '']) {
      expect((await box.berth(['tag', 'newer', name])).status).toBe(125)
    }
    expect((await box.berth(['tag', 'nope', 'x'])).stderr).toContain('Cannot find image "nope"')
  })
})

describe('berth image prune', () => {
  test('asks, and does nothing without a yes', async () => {
    using box = await filled()
    const { stdout, stderr } = await box.berth(['image', 'prune', '-a'])
    expect([stdout, stderr]).toEqual([
      '',
      'WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue? [y/N] ',
    ])
    const yes = await box.berth(['image', 'prune', '-a', '--filter', 'label=tier=high'], Buffer.from('y\n'))
    expect(yes.stdout).toStartWith(`Deleted Images:\nuntagged: newer:latest\ndeleted: ${newerId}\n`)
  })

  test('takes images without a name only, unless --all, and never what a container or a pin holds', async () => {
    using box = await filled()
    expect(await box.ok('image', 'prune', '--force')).toBe('Total reclaimed space: 0B\n')
    await addContainer(box, 'docker.io/library/newer:latest')
    const { records } = await box.store()
    const pinned = records.named('docker.io/library/older:2')
    if (pinned !== null) records.pin(pinned.digest, true)
    expect(await box.ok('image', 'prune', '--all', '--force')).toBe('Total reclaimed space: 0B\n')
    if (pinned !== null) records.pin(pinned.digest, false)
    expect(await box.ok('image', 'prune', '--all', '--force', '--filter', 'until=2019-01-01')).toBe(
      'Total reclaimed space: 0B\n',
    )
    expect(await box.ok('image', 'prune', '--all', '--force')).toContain(`deleted: ${olderId}`)
    expect((await box.berth(['image', 'prune', '--filter', 'reference=x', '-f'])).stderr).toContain(
      'Cannot filter images by',
    )
  }, 30_000)
})

describe('berth image verify', () => {
  test('names damaged and missing blobs and who needs them, and --repair removes them', async () => {
    using box = await filled()
    const [config, layer] = [newerId, sha256(older.layers[1] ?? '')].map(digest =>
      box.path('data/content/blobs', digest.replace(':', '/')),
    )
    writeFileSync(layer ?? '', Buffer.alloc(older.layers[1]?.length ?? 0))
    rmSync(config ?? '')
    const { status, stdout } = await box.berth(['image', 'verify'])
    expect(
      lines(stdout)
        .sort()
        .map(line => line.split(':')[1]?.slice(0, 64)),
    ).toHaveLength(2)
    expect(stdout).toContain('needed by docker.io/library/newer:latest')
    expect(stdout).toContain('needed by docker.io/library/older:2')
    expect(status).toBe(1)
    expect((await box.berth(['image', 'verify', '--repair'])).stdout).toContain('Removed 1 damaged blobs')
    await box.load(dockerArchive(older, newer))
    expect((await box.berth(['image', 'verify', '-q'])).status).toBe(0)
  }, 30_000)
})

describe('berth manifest', () => {
  test('makes, amends, annotates, prints and removes a list', async () => {
    using box = await filled()
    expect(await box.ok('manifest', 'create', 'registry.test/list:1', 'newer')).toBe(
      'Created manifest list registry.test/list:1\n',
    )
    expect((await box.berth(['manifest', 'create', 'registry.test/list:1', 'newer'])).stderr).toContain(
      'expected none or --amend',
    )
    await box.ok('manifest', 'create', '--amend', 'registry.test/list:1', 'older:2')
    await box.ok('manifest', 'annotate', '--arch', 'arm64', '--variant', 'v8', 'registry.test/list:1', 'older:2')
    const list = JSON.parse(await box.ok('manifest', 'inspect', 'registry.test/list:1'))
    expect(list.manifests.map(({ platform }: { platform: object }) => platform)).toEqual([
      { architecture: 'amd64', os: 'linux' },
      { architecture: 'arm64', os: 'linux', variant: 'v8' },
    ])
    expect(JSON.parse(await box.ok('manifest', 'inspect', 'newer')).config.digest).toBe(newerId)
    expect((await box.store()).records.list()).toHaveLength(3)
    await box.ok('manifest', 'rm', 'registry.test/list:1')
    expect(lines(await box.ok('images', '-q'))).toHaveLength(2)
    expect(await box.ok('image', 'verify')).toBe('All content is as its digests say.\n')
  }, 30_000)

  test('refuses what is no list, and images that are not here', async () => {
    using box = await filled()
    expect((await box.berth(['manifest', 'rm', 'newer'])).stderr).toContain('it is one image, expected a list')
    expect((await box.berth(['manifest', 'create', 'l', 'nope'])).stderr).toContain('Cannot find image "nope"')
    expect((await box.berth(['manifest', 'annotate', 'newer', 'older:2'])).stderr).toContain('expected what to change')
  })
})

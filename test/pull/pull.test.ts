/** Pulls from Debian's docker-registry, through a proxy that counts. */
import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ProgressEvent } from '../../src/image/progress.ts'
import { OCI_INDEX } from '../../src/oci/media-types.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { tagged } from '../image/layout-builder.ts'
import { run, treeOf } from '../image/tree.ts'
import { requirement, testIf } from '../support/requirement.ts'
import { discrepancies, layerOf, noise, PullScene } from './pull-scene.ts'

const pullTest = testIf('root', 'command docker-registry', 'command skopeo')
const isPossible = ['root', 'command docker-registry', 'command skopeo'].every(name => requirement(name as 'root').ok)

let scene: PullScene
beforeAll(async () => {
  if (!isPossible) return
  scene = await PullScene.start()
  const { layout } = scene
  const base = layerOf('base', 400_000)
  const platforms = ['amd64', 'arm64'].map(architecture => ({
    ...layout.image([base, layerOf(`for ${architecture}`)], { platform: { architecture } }),
    platform: { os: 'linux', architecture },
  }))
  const proof = { ...layout.image([layerOf('proof')]), platform: { os: 'unknown', architecture: 'unknown' } }
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [...platforms, proof] }
  layout.finish(
    tagged(layout.image([base, layerOf('one')], { config: { Labels: { a: 'b' } } }), 'one'),
    tagged(layout.image([base, layerOf('two')]), 'two'),
    tagged(layout.image([layerOf('arm')], { platform: { architecture: 'arm64' } }), 'arm'),
    tagged(layout.json(index, OCI_INDEX), 'index'),
  )
  scene.upload('one', 'x/one:1')
  scene.upload('two', 'x/two:1')
  scene.upload('two', 'x/one:2')
  scene.upload('arm', 'x/arm:1')
  scene.upload('index', 'x/index:1', '--all')
}, 60_000)
afterAll(async () => {
  if (isPossible) await scene[Symbol.asyncDispose]()
})

let storeCount = 0
function newStore() {
  scene.proxy.seen.length = 0
  scene.proxy.fateOf = () => null
  scene.warnings.length = 0
  return scene.store(`data${storeCount++}`)
}

describe('pullImage()', () => {
  pullTest('fetches each blob once, and puts down an image that is all there', async () => {
    const store = await newStore()
    const events: ProgressEvent[] = []
    const { image, name, before, isNew, manifest } = await scene.pull('x/one:1', store, {
      onProgress: event => events.push(event),
    })
    expect(image.digest as string).toBe(await scene.digestOf('x/one:1'))
    expect([name, before, isNew]).toEqual([scene.name('x/one:1'), null, true])
    expect([image.names, manifest.labels]).toEqual([[name], { a: 'b' }])
    expect(scene.proxy.blobs('GET')).toHaveLength(3)
    expect(await discrepancies(store)).toEqual([])
    const kinds = [...new Set(events.map(({ kind }) => kind))]
    expect(kinds).toEqual(['waiting', 'downloading', 'extracting', 'pulled'])
    expect(events.filter(({ kind }) => kind === 'pulled')).toHaveLength(2)
  })

  pullTest('asks with one HEAD whether there is something newer', async () => {
    const store = await newStore()
    const first = await scene.pull('x/one:1', store)
    scene.proxy.seen.length = 0
    const second = await scene.pull('x/one:1', store)
    expect(scene.proxy.seen.map(({ method }) => method)).toEqual(['HEAD'])
    expect([second.isNew, second.before, second.image.digest]).toEqual([false, first.image.digest, first.image.digest])
  })

  pullTest('tells which digest a tag stood for that has moved, and keeps that image', async () => {
    const store = await newStore()
    scene.upload('one', 'x/moving:1')
    const { image: old } = await scene.pull('x/moving:1', store)
    scene.upload('two', 'x/moving:1')
    const { image, before, isNew } = await scene.pull('x/moving:1', store)
    expect([before, isNew]).toEqual([old.digest, true])
    expect(image.digest).not.toBe(old.digest)
    expect(store.records.get(old.digest)?.names).toEqual([])
  })

  pullTest('transfers and stores of an image that shares layers only what is new', async () => {
    const store = await newStore()
    await scene.pull('x/one:1', store)
    const count = async (): Promise<number> => (await Array.fromAsync(store.content.list())).length
    const before = await count()
    scene.proxy.seen.length = 0
    await scene.pull('x/two:1', store)
    // A config and a layer come, and a manifest.
    expect(scene.proxy.blobs('GET')).toHaveLength(2)
    expect((await count()) - before).toBe(3)
    expect(await store.layers.list()).toHaveLength(3)
  })

  pullTest('by digest names the image by it, and asks nothing when it is here', async () => {
    const store = await newStore()
    const digest = await scene.digestOf('x/one:1')
    const { name, image } = await scene.pull(`x/one:ignored@${digest}`, store)
    expect([name, image.digest as string]).toEqual([scene.name(`x/one@${digest}`), digest])
    scene.proxy.seen.length = 0
    expect((await scene.pull(`x/one@${digest}`, store)).isNew).toBe(false)
    expect(scene.proxy.seen).toEqual([])
  })

  pullTest('takes the platform of an index that fits, and another one beside it later', async () => {
    const store = await newStore()
    const amd64 = await scene.pull('x/index:1', store, { platform: parsePlatform('amd64') })
    expect(amd64.manifest.platform).toBe('linux/amd64')
    scene.proxy.seen.length = 0
    const arm64 = await scene.pull('x/index:1', store, { platform: parsePlatform('linux/arm64') })
    expect(arm64.image.manifests.map(({ platform }) => platform)).toEqual(['linux/amd64', 'linux/arm64'])
    expect(scene.proxy.blobs('GET')).toHaveLength(2)
    expect(await discrepancies(store)).toEqual([])
  })

  pullTest('refuses a platform that there is not, naming those that there are', async () => {
    const store = await newStore()
    const outcome = scene.pull('x/index:1', store, { platform: parsePlatform('s390x') })
    await expect(outcome).rejects.toThrow(
      /no|Cannot find an image for linux\/s390x .*: it holds linux\/amd64, linux\/arm64$/,
    )
    await expect(scene.pull('x/arm:1', store, { platform: parsePlatform('amd64') })).rejects.toThrow(
      'it is for linux/arm64, expected linux/amd64',
    )
    expect(store.records.list()).toEqual([])
  })

  pullTest('takes an image that is for another machine only with a warning', async () => {
    const store = await newStore()
    const other = process.arch === 'arm64' ? 'x/one:1' : 'x/arm:1'
    await scene.pull(other, store)
    expect(scene.warnings.join()).toContain('this machine is linux/')
  })

  pullTest('asks the policy with the manifest before a layer comes', async () => {
    const store = await newStore()
    const asked: string[] = []
    const outcome = scene.pull('x/index:1', store, {
      platform: parsePlatform('amd64'),
      checkTrust: async (_, documents) => {
        asked.push(...documents.map(({ descriptor }) => descriptor.mediaType))
        throw new Error('not trusted')
      },
    })
    await expect(outcome).rejects.toThrow('not trusted')
    expect(asked).toEqual([OCI_INDEX, 'application/vnd.oci.image.manifest.v1+json'])
    expect(scene.proxy.blobs('GET')).toEqual([])
    expect(store.records.list()).toEqual([])
  })

  pullTest('twice at once transfers each blob once, in one process', async () => {
    const store = await newStore()
    const [first, second] = await Promise.all([1, 2].map(() => scene.pull('x/one:1', store)))
    expect(first?.image.digest).toBe(second?.image.digest as never)
    expect(scene.proxy.blobs('GET')).toHaveLength(3)
    expect(await discrepancies(store)).toEqual([])
  })

  pullTest('that was cut off goes on where it was', async () => {
    const store = await newStore()
    const [layer] = (await scene.pull('x/one:1', await scene.store('other'))).manifest.layers
    scene.proxy.seen.length = 0
    const isLayer = (path: string): boolean => path.endsWith(layer?.digest ?? '')
    scene.proxy.fateOf = ({ path, method }) => {
      if (!isLayer(path) || method !== 'GET') return null
      const isFirst = scene.proxy.seen.filter(each => isLayer(each.path)).length === 1
      return isFirst ? { kind: 'cut', afterBytes: 150_000 } : { kind: 'answer', status: 404 }
    }
    await expect(scene.pull('x/one:1', store)).rejects.toThrow()
    expect(store.records.list()).toEqual([])
    const [partial = ''] = readdirSync(join(store.content.path, 'ingest'))
    expect(partial).not.toBe('')
    scene.proxy.fateOf = () => null
    scene.proxy.seen.length = 0
    await scene.pull('x/one:1', store)
    const ranges = scene.proxy.seen.filter(each => isLayer(each.path)).map(({ range }) => range)
    expect(ranges).toHaveLength(1)
    expect(ranges[0]).toMatch(/^bytes=[1-9]\d*-/)
    expect(await discrepancies(store)).toEqual([])
  })

  pullTest('that is cancelled at whatever event shows nothing, and goes on later', async () => {
    const store = await newStore()
    for (let count = 1; ; count++) {
      const controller = new AbortController()
      let seen = 0
      const onProgress = (): void => {
        if (++seen === count) controller.abort()
      }
      const outcome = await scene
        .pull('x/one:1', store, { onProgress, signal: controller.signal })
        .catch(error => error)
      if (seen < count) {
        expect(outcome.isNew ?? outcome).toBe(true)
        break
      }
      if (outcome instanceof Error) {
        expect(outcome.message).toContain('interrupted')
        expect(store.records.list()).toEqual([])
      } else {
        // The last event came when nothing was left to be stopped.
        store.records.remove(outcome.image.digest)
      }
    }
    expect(await discrepancies(store)).toEqual([])
  })
})

const FORMATS = [
  ['an OCI image with gzip', ['--format', 'oci']],
  ['an OCI image with zstd', ['--format', 'oci', '--dest-compress-format', 'zstd']],
  ['a Docker schema 2 image', ['--format', 'v2s2']],
] as const

describe('a pulled image has the same files as umoci unpack makes:', () => {
  for (const [what, options] of FORMATS) {
    testIf(
      'root',
      'command docker-registry',
      'command skopeo',
      'command umoci',
    )(what, async () => {
      const store = await newStore()
      const tree = scene.path(`tree${storeCount}`)
      mkdirSync(join(tree, 'etc/sub'), { recursive: true })
      writeFileSync(join(tree, 'etc/a'), noise(300_000, storeCount))
      run(
        'sh',
        '-ec',
        `cd '${tree}'; ln etc/a etc/hard; ln -s a etc/soft; mkfifo etc/fifo; mknod etc/null c 1 3
        chmod 4755 etc/a; chown 70000:5 etc/sub; setfattr -n user.x -v y etc/a 2> /dev/null || true`,
      )
      const tar = run('tar', '-C', tree, '--format=posix', '--xattrs', '--numeric-owner', '-cf', '-', '.')
      const made = scene.layout
      const index = await Bun.file(join(made.path, 'index.json')).json()
      made.finish(...index.manifests, tagged(made.image([tar], { compression: 'none' }), `tree${storeCount}`))
      scene.upload(`tree${storeCount}`, `x/tree${storeCount}:1`, ...options)
      const { manifest } = await scene.pull(`x/tree${storeCount}:1`, store)
      const [layer] = manifest.layers
      const found = layer === undefined ? null : await store.layers.find(layer.diffId)
      const bundle = scene.path(`bundle${storeCount}`)
      run('umoci', 'unpack', '--image', `${made.path}:tree${storeCount}`, bundle)
      expect(treeOf(found?.path ?? '')).toEqual(treeOf(join(bundle, 'rootfs')))
    })
  }

  testIf(
    'root',
    'command docker-registry',
    'command buildah',
    'command skopeo',
  )('what buildah pushed', async () => {
    const store = await newStore()
    const tree = scene.path('buildah-tree')
    mkdirSync(join(tree, 'etc'), { recursive: true })
    writeFileSync(join(tree, 'etc/a'), noise(100_000, 7))
    // buildah keeps whole seconds only.
    run('touch', '-d', '2001-02-03 04:05:06', join(tree, 'etc/a'), join(tree, 'etc'))
    const storage = ['--root', scene.path('buildah'), '--runroot', scene.path('buildah-run'), '--storage-driver', 'vfs']
    const buildah = (...args: readonly string[]): string =>
      run('buildah', ...storage, ...args)
        .toString()
        .trim()
    const container = buildah('from', 'scratch')
    buildah('copy', container, tree, '/')
    buildah('commit', container, 'made')
    for (const format of ['oci', 'v2s2']) {
      const name = `x/buildah-${format}:1`
      buildah('push', '--tls-verify=false', '--format', format, 'made', `docker://${scene.registry.host}/${name}`)
      const { manifest } = await scene.pull(name, store)
      const [layer] = manifest.layers
      const found = layer === undefined ? null : await store.layers.find(layer.diffId)
      expect(treeOf(join(found?.path ?? '', 'etc'))).toEqual(treeOf(join(tree, 'etc')))
    }
    buildah('rm', container)
  })
})

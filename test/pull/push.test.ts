/** Pushes into Debian's docker-registry: what comes out must be what came in, byte for byte. */
import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { lookUpImage } from '../../src/image/find-image.ts'
import type { ImageStore } from '../../src/image/image-store.ts'
import { OCI_INDEX } from '../../src/oci/media-types.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { tagged } from '../image/layout-builder.ts'
import { run } from '../image/tree.ts'
import { requirement, testIf } from '../support/requirement.ts'
import { discrepancies, layerOf, PullScene } from './pull-scene.ts'

const pushTest = testIf('root', 'command docker-registry', 'command skopeo')
const isPossible = (['root', 'command docker-registry', 'command skopeo'] as const).every(name => requirement(name).ok)

let scene: PullScene
beforeAll(async () => {
  if (!isPossible) return
  scene = await PullScene.start()
  const { layout } = scene
  const platforms = ['amd64', 'arm64', 's390x'].map(architecture => ({
    ...layout.image([layerOf('base', 200_000), layerOf(`for ${architecture}`)], { platform: { architecture } }),
    platform: { os: 'linux', architecture },
  }))
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: platforms, annotations: { b: 'c' } }
  layout.finish(
    tagged(layout.image([layerOf('base', 200_000), layerOf('one')]), 'one'),
    tagged(layout.json(index, OCI_INDEX), 'index'),
  )
  scene.upload('one', 'y/one:1')
  scene.upload('one', 'y/docker:1', '--format', 'v2s2')
  scene.upload('index', 'y/index:1', '--all')
}, 60_000)
afterAll(async () => {
  if (isPossible) await scene[Symbol.asyncDispose]()
})

let storeCount = 0
function newStore(): Promise<ImageStore> {
  scene.proxy.seen.length = 0
  scene.proxy.fateOf = () => null
  scene.warnings.length = 0
  return scene.store(`data${storeCount++}`)
}

/** Gives an image another name at the same registry. */
function rename(store: ImageStore, from: string, to: string): void {
  const found = lookUpImage(scene.name(from), store.records)
  if (found === null) throw new Error(`no image ${from}`)
  store.records.tag(found.image.digest, scene.name(to))
}

/** Past all stores: what the registry has under a name. */
function skopeoDigest(name: string): string {
  const inspected = run('skopeo', 'inspect', '--tls-verify=false', `docker://${scene.registry.host}/${name}`)
  return String(JSON.parse(inspected.toString()).Digest)
}

describe('pushImage()', () => {
  for (const source of ['y/one:1', 'y/docker:1', 'y/index:1']) {
    pushTest(`of ${source} gives it the digest that it had, and it can be pulled`, async () => {
      const store = await newStore()
      for (const architecture of source === 'y/index:1' ? ['amd64', 'arm64', 's390x'] : ['amd64'])
        await scene.pull(source, store, { platform: parsePlatform(architecture) })
      const target = source.replace('y/', 'pushed/')
      rename(store, source, target)
      const { digest } = await scene.push(target, store)
      expect([await scene.digestOf(target), skopeoDigest(target)]).toEqual([digest, digest])
      expect(digest as string).toBe(await scene.digestOf(source))
      const other = await scene.store(`data${storeCount++}`)
      expect((await scene.pull(target, other, { platform: parsePlatform('amd64') })).image.digest).toBe(digest)
      expect(await discrepancies(other)).toEqual([])
    })
  }

  pushTest('mounts what another repository has, and uploads nothing', async () => {
    const store = await newStore()
    await scene.pull('y/one:1', store)
    rename(store, 'y/one:1', 'mounted/one:1')
    scene.proxy.seen.length = 0
    const kinds: string[] = []
    await scene.push('mounted/one:1', store, { onProgress: ({ kind }) => kinds.push(kind) })
    const posts = scene.proxy.seen.filter(({ method }) => method === 'POST').map(({ path }) => path)
    expect(posts).toHaveLength(3)
    for (const path of posts) expect(path).toContain('from=y%2Fone')
    expect(scene.proxy.seen.filter(({ method }) => method === 'PATCH')).toEqual([])
    expect(kinds.filter(kind => kind === 'mounted')).toHaveLength(2)
  })

  pushTest('uploads what the registry has not, and says of what it has that it exists', async () => {
    const store = await newStore()
    await scene.pull('y/one:1', store)
    // Of no repository here it is known that it has the blobs.
    store.records.tag(
      lookUpImage(scene.name('y/one:1'), store.records)?.image.digest as never,
      scene.name('fresh/one:1'),
    )
    store.records.untag(scene.name('y/one:1'))
    const kindsOf = async (): Promise<readonly string[]> => {
      const kinds = new Set<string>()
      await scene.push('fresh/one:1', store, { onProgress: ({ kind }) => kinds.add(kind) })
      return [...kinds]
    }
    expect(await kindsOf()).toEqual(['waiting', 'uploading', 'pushed'])
    expect(await kindsOf()).toEqual(['waiting', 'exists'])
  })

  pushTest('of one platform pushes its manifest alone', async () => {
    const store = await newStore()
    for (const platform of ['amd64', 'arm64'].map(parsePlatform)) await scene.pull('y/index:1', store, { platform })
    rename(store, 'y/index:1', 'platform/x:1')
    const { digest } = await scene.push('platform/x:1', store, { platform: parsePlatform('arm64') })
    const { manifest, image } = await scene.pull('platform/x:1', await newStore(), { platform: parsePlatform('arm64') })
    expect([manifest.platform, image.digest]).toEqual(['linux/arm64', digest])
    const outcome = scene.push('platform/x:1', store, { platform: parsePlatform('riscv64') })
    await expect(outcome).rejects.toThrow(/Cannot (push|find)/)
  })

  pushTest('of an index names what is missing of it', async () => {
    const store = await newStore()
    for (const platform of ['amd64', 'arm64'].map(parsePlatform)) await scene.pull('y/index:1', store, { platform })
    rename(store, 'y/index:1', 'half/x:1')
    await expect(scene.push('half/x:1', store)).rejects.toThrow('of its index linux/s390x is missing here')
    expect(await scene.digestOf('half/x:1')).toBe('status 404')
    // Where the registry has the rest, it need not be here.
    rename(store, 'y/index:1', 'y/index:2')
    expect((await scene.push('y/index:2', store)).digest as string).toBe(await scene.digestOf('y/index:1'))
  })

  pushTest('of an index of which one platform is here pushes that, with a warning', async () => {
    const store = await newStore()
    const { manifest } = await scene.pull('y/index:1', store, { platform: parsePlatform('amd64') })
    rename(store, 'y/index:1', 'alone/x:1')
    expect((await scene.push('alone/x:1', store)).digest).toBe(manifest.digest)
    expect(scene.warnings.join()).toContain('only linux/amd64 is here')
  })

  pushTest('refuses a reference with a digest, or without a tag', async () => {
    const store = await newStore()
    const { image } = await scene.pull('y/one:1', store)
    await expect(scene.push(`y/one@${image.digest}`, store)).rejects.toThrow('expected a tag and no digest')
  })

  pushTest('that is interrupted says so, and leaves no tag', async () => {
    const store = await newStore()
    await scene.pull('y/one:1', store)
    rename(store, 'y/one:1', 'stopped/one:1')
    const controller = new AbortController()
    const outcome = scene.push('stopped/one:1', store, {
      signal: controller.signal,
      onProgress: ({ kind }) => kind !== 'waiting' && controller.abort(),
    })
    await expect(outcome).rejects.toThrow('interrupted')
    expect(await scene.digestOf('stopped/one:1')).toBe('status 404')
  })
})

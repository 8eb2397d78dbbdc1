/** Pulls from a registry that answers slowly, wrongly, or not at all. */
import { afterAll, beforeAll, beforeEach, describe, expect } from 'bun:test'
import type { ImageStore } from '../../src/image/image-store.ts'
import { tagged } from '../image/layout-builder.ts'
import { requirement, testIf } from '../support/requirement.ts'
import { discrepancies, layerOf, PullScene } from './pull-scene.ts'
import type { Fate, SeenRequest } from './registry-proxy.ts'

const pullTest = testIf('root', 'command docker-registry', 'command skopeo')
const isPossible = (['root', 'command docker-registry', 'command skopeo'] as const).every(name => requirement(name).ok)

let scene: PullScene
let store: ImageStore
let storeCount = 0
beforeAll(async () => {
  if (!isPossible) return
  scene = await PullScene.start()
  const { layout } = scene
  layout.finish(
    tagged(layout.image([layerOf('base', 300_000), layerOf('one', 2000)]), 'one'),
    tagged(layout.image([layerOf('small', 100)], { config: { Labels: {} } }), 'small'),
  )
  scene.upload('one', 'z/one:1')
  scene.upload('small', 'z/small:1')
}, 60_000)
afterAll(async () => {
  if (isPossible) await scene[Symbol.asyncDispose]()
})
beforeEach(async () => {
  if (!isPossible) return
  scene.proxy.seen.length = 0
  scene.proxy.fateOf = () => null
  store = await scene.store(`data${storeCount++}`)
})

const isBlob = ({ path }: SeenRequest): boolean => path.includes('/blobs/')
const isManifest = ({ path }: SeenRequest): boolean => path.includes('/manifests/')

/** The first `count` requests that fit have this fate. */
function first(count: number, fits: (request: SeenRequest) => boolean, fate: Fate): void {
  let left = count
  scene.proxy.fateOf = request => (fits(request) && left-- > 0 ? fate : null)
}

describe('pullImage() succeeds', () => {
  for (const status of [500, 502, 503, 429])
    pullTest(`when the registry answers ${status} at first`, async () => {
      first(4, () => true, { kind: 'answer', status, headers: { 'retry-after': '0' } })
      await scene.pull('z/one:1', store)
      expect(await discrepancies(store)).toEqual([])
    })

  pullTest('when connections break at once, or in the middle', async () => {
    first(2, () => true, { kind: 'hang up' })
    await scene.pull('z/small:1', store)
    first(3, isBlob, { kind: 'cut', afterBytes: 500 })
    await scene.pull('z/one:1', store)
    expect(await discrepancies(store)).toEqual([])
  })

  pullTest('when the registry trickles', async () => {
    scene.proxy.fateOf = request => (isBlob(request) ? { kind: 'trickle' } : null)
    await scene.pull('z/small:1', store)
    expect(await discrepancies(store)).toEqual([])
  })

  pullTest('when the connection breaks at every position of a small blob', async () => {
    const manifest = (await scene.pull('z/small:1', store)).manifest
    const [layer] = manifest.layers
    const sizeBytes = layer?.sizeBytes ?? 0
    expect(sizeBytes).toBeGreaterThan(150)
    const isLayer = ({ path }: SeenRequest): boolean => path.endsWith(layer?.digest ?? '')
    // Each position once in some pull: the registry has as many patient clients as there are.
    const positions = Array.from({ length: sizeBytes }, (_, index) => index)
    const others = await Promise.all([1, 2, 3, 4].map(each => scene.store(`every${each}`)))
    let next = 0
    scene.proxy.fateOf = request => {
      const afterBytes = isLayer(request) && request.range === null ? positions[next++] : undefined
      return afterBytes === undefined ? null : { kind: 'cut', afterBytes }
    }
    while (next < positions.length)
      await Promise.all(
        others.map(async other => {
          const { image } = await scene.pull('z/small:1', other)
          other.records.remove(image.digest)
          other.records.collect(
            { blob: [layer?.digest as never], layer: [layer?.diffId as never] },
            ({ blob, layer }) => {
              other.content.removeNow(blob)
              other.layers.condemnNow(layer)
            },
          )
          await other.layers.removeCondemned()
        }),
      )
  })
})

describe('pullImage() fails, shows nothing, and succeeds when asked again', () => {
  const flip = (body: Buffer): Uint8Array => {
    const changed = Buffer.from(body)
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1
    return changed
  }
  const isLayerGet = (request: SeenRequest): boolean => isBlob(request) && request.method === 'GET'
  const fates: readonly (readonly [
    what: string,
    fits: (request: SeenRequest) => boolean,
    fate: Fate,
    error: RegExp,
  ])[] = [
    ['when it is not there', isManifest, { kind: 'answer', status: 404 }, /./],
    ['when it is forbidden', isManifest, { kind: 'answer', status: 403 }, /./],
    ['when the registry never recovers', isManifest, { kind: 'answer', status: 500 }, /./],
    ['when a blob is missing', isLayerGet, { kind: 'answer', status: 404 }, /./],
    ['when blobs have another content', isLayerGet, { kind: 'change', change: flip }, /digest|JSON/],
    ['when blobs are cut off each time', isLayerGet, { kind: 'cut', afterBytes: 1 }, /./],
    ['when a blob is another document', isLayerGet, { kind: 'answer', status: 200, body: '<html>' }, /bytes|digest/],
    ['when the manifest is no JSON', isManifest, { kind: 'change', change: () => Buffer.from('<html>') }, /./],
    [
      'when the manifest has 100 MB',
      isManifest,
      {
        kind: 'answer',
        status: 200,
        headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
        body: Buffer.alloc(100_000_000, 32),
      },
      /bytes|MiB|4194304/,
    ],
  ]
  for (const [what, fits, fate, error] of fates)
    pullTest(what, async () => {
      scene.proxy.fateOf = request => (fits(request) ? fate : null)
      await expect(scene.pull('z/one:1', store)).rejects.toThrow(error)
      expect(store.records.list()).toEqual([])
      expect(await Bun.file(`${store.content.path}/index.json`).json()).toMatchObject({ manifests: [] })
      scene.proxy.fateOf = () => null
      await scene.pull('z/one:1', store)
      expect(await discrepancies(store)).toEqual([])
    })
})

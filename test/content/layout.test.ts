/** The store as others see it: an OCI image layout. */
import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { OciLayout } from '../../src/content/oci-layout.ts'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import { parseDigest } from '../../src/oci/digest.ts'
import { formatImageConfig } from '../../src/oci/image-config-format.ts'
import { formatManifest } from '../../src/oci/manifest-format.ts'
import { OCI_CONFIG, OCI_LAYER, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { testIf } from '../support/requirement.ts'
import { archive } from '../support/tar-archive.ts'
import { ContentBox } from './content-box.ts'

const REF_NAME = 'org.opencontainers.image.ref.name'

/** Stores an image of one layer and names it in index.json. */
async function storeImage(box: ContentBox, tag: string): Promise<Descriptor> {
  const store = await box.open()
  const tar = archive({ name: 'hello', content: new TextEncoder().encode('world') })
  const layer = await store.put(tar)
  const config = await store.put(
    formatImageConfig({
      platform: { os: 'linux', architecture: 'amd64' },
      created: null,
      author: null,
      config: {
        env: ['A=1'],
        entrypoint: [],
        cmd: ['/hello'],
        workingDir: '/',
        user: '',
        volumes: ['/data'],
        stopSignal: '',
        labels: { a: 'b' },
        exposedPorts: [],
        healthcheck: { test: ['NONE'] },
      },
      diffIds: [layer.digest],
      history: [],
    }),
  )
  const manifest = await store.put(
    formatManifest({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: { mediaType: OCI_CONFIG, ...config },
      layers: [{ mediaType: OCI_LAYER, ...layer }],
    }),
  )
  const descriptor: Descriptor = { mediaType: OCI_MANIFEST, ...manifest, annotations: { [REF_NAME]: tag } }
  await store.writeIndex([descriptor])
  return descriptor
}

test('a content store is an image layout', async () => {
  using box = new ContentBox()
  const stored = await storeImage(box, 'docker.io/library/x:1')
  await using layout = await OciLayout.open(join(box.root, 'content'))
  expect(layout.index.manifests).toEqual([stored])
  expect(await layout.readDocument(stored)).toContain('"schemaVersion":2')
  expect(box.partials()).toEqual([])
})

test('an empty content store is an image layout without images', async () => {
  using box = new ContentBox()
  await box.open()
  await using layout = await OciLayout.open(join(box.root, 'content'))
  expect(layout.index.manifests).toEqual([])
})

testIf('command skopeo')('skopeo reads an image of the content store, and copies it unchanged', async () => {
  using box = new ContentBox()
  const stored = await storeImage(box, 'v1')
  const reference = `oci:${box.root}/content:v1`
  const inspect = Bun.spawnSync(['skopeo', 'inspect', '--config', reference], { stdin: 'ignore' })
  expect(inspect.stderr.toString()).toBe('')
  expect(JSON.parse(inspect.stdout.toString())).toMatchObject({
    os: 'linux',
    config: { Env: ['A=1'], Labels: { a: 'b' }, Volumes: { '/data': {} } },
  })
  const copy = Bun.spawnSync(
    ['skopeo', 'copy', '--insecure-policy', '--preserve-digests', reference, `oci:${box.root}/copy:v1`],
    { stdin: 'ignore' },
  )
  expect(copy.stderr.toString()).toBe('')
  await using layout = await OciLayout.open(join(box.root, 'copy'))
  expect(layout.index.manifests.map(({ digest }) => digest)).toEqual([parseDigest(stored.digest)])
})

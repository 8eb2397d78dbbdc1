/** Images to load into an engine of a test's own, and a look at what is on its disk. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openEngineWithImages } from '../../src/engine/open-images.ts'
import { LayoutBuilder, tagged } from '../image/layout-builder.ts'
import { StoreBox } from '../listing/store-box.ts'
import { testIf } from '../support/requirement.ts'
import { archive } from '../support/tar-archive.ts'

const APPLETS = ['sh', 'cat', 'echo', 'true', 'dd', 'sleep']

/** A layer from which programs run. */
export function busyboxLayer(): Buffer {
  return archive(
    ...['bin/', 'dev/', 'proc/', 'sys/', 'tmp/', 'etc/'].map(name => ({ name, type: '5', mode: 0o755 })),
    { name: 'bin/busybox', mode: 0o755, content: readFileSync(Bun.which('busybox') ?? '/bin/busybox') },
    ...APPLETS.map(each => ({ name: `bin/${each}`, type: '2', linkname: 'busybox' })),
  )
}

/** A layer of one file with bytes that don't compress. */
export function dataLayer(name: string, bytes: number): Buffer {
  const content = new Uint8Array(bytes)
  for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(content.subarray(at, at + 65_536))
  return archive({ name, content })
}

/** A layout with an image per name, each of these layers and one of its own. */
export function layoutOf(
  path: string,
  names: readonly string[],
  layers: readonly Uint8Array[],
  bytes = 50_000,
): string {
  const layout = new LayoutBuilder(path)
  const images = names.map(name => tagged(layout.image([...layers, dataLayer(name.replace(/\W/g, '-'), bytes)]), name))
  return layout.finish(...images)
}

/** A test with an engine of its own, in which containers of such layers run. */
export function storageTest(name: string, run: (box: StoreBox) => Promise<unknown>, timeoutMs = 60_000): void {
  testIf(
    'root',
    'overlay',
    'idmapped mounts',
    'command busybox',
  )(
    name,
    async () => {
      using box = new StoreBox()
      await run(box)
    },
    timeoutMs,
  )
}

/** The engine of a box, in this process. */
export async function engineOf(box: StoreBox) {
  return await openEngineWithImages({ data: box.data, run: box.path('run') }, message => {
    throw new Error(message)
  })
}

/** The names of all blobs, layers, partial blobs, containers and scratch directories that are on the disk. */
export function onDisk(data: string): readonly string[] {
  const below = (...parts: readonly string[]): string[] =>
    existsSync(join(data, ...parts)) ? readdirSync(join(data, ...parts)).map(name => join(...parts, name)) : []
  return [
    ...['sha256', 'sha512'].flatMap(algorithm => below('content/blobs', algorithm)),
    ...below('layers').flatMap(each => (each.startsWith('layers/.') ? [each] : below(each))),
    ...['content/ingest', 'containers', 'bootstrap'].flatMap(each => below(each)),
    ...below().filter(name => name.startsWith('.')),
  ].sort()
}

/** Makes the images that are measured with: the same bytes each time, from a generator of numbers (and the machine's busybox). */
import { createHash, type Hash } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { createGzip, type Gzip } from 'node:zlib'

/** One layer: a gzip blob in an image layout, named as descriptors name it. */
export interface BenchLayer {
  readonly path: string
  readonly digest: string
  readonly diffId: string
  readonly sizeBytes: number
}

/** An image of layers in a layout directory, with the tag `bench`. */
export interface BenchImage {
  readonly name: string
  readonly layout: string
  readonly layers: readonly BenchLayer[]
  readonly entryCount: number
  readonly contentBytes: number
}

/** What the files of one layer are like. */
interface Recipe {
  readonly files: number
  /** Of a file: most are near the first, few near the second, as in distributions. */
  readonly smallBytes: number
  readonly largeBytes: number
  readonly filesPerDirectory: number
}

const KIB = 1024
const MIB = 1024 * KIB
const THIRTY_LAYERS: readonly Recipe[] = Array.from({ length: 30 }, (_, index) => ({
  files: 40 + 20 * (index % 7),
  smallBytes: 2 * KIB,
  largeBytes: 300 * KIB,
  filesPerDirectory: 8,
}))
const IMAGES = {
  // As debian:bookworm: 120 MB in 3,500 files, symbolic and hard links besides.
  base: [{ files: 3500, smallBytes: 4 * KIB, largeBytes: 270 * KIB, filesPerDirectory: 12 }],
  '30-layers': THIRTY_LAYERS,
  // The image above, and one layer more.
  '31-layers': [...THIRTY_LAYERS, { files: 60, smallBytes: 2 * KIB, largeBytes: 300 * KIB, filesPerDirectory: 8 }],
  '50k-files': [{ files: 50_000, smallBytes: 1 * KIB, largeBytes: 4 * KIB, filesPerDirectory: 25 }],
  '1-gb': [{ files: 16, smallBytes: 64 * MIB, largeBytes: 64 * MIB, filesPerDirectory: 4 }],
} as const satisfies Readonly<Record<string, readonly Recipe[]>>

/** Names of the images that {@link makeBenchImage} makes. */
export type BenchImageName = keyof typeof IMAGES

/** Makes one of the images below a directory. */
export async function makeBenchImage(name: BenchImageName, directory: string): Promise<BenchImage> {
  const layout = join(directory, name)
  const blobs = join(layout, 'blobs/sha256')
  mkdirSync(blobs, { recursive: true })
  const random = new Random(7)
  const layers: BenchLayer[] = []
  let [entryCount, contentBytes] = [0, 0]
  for (const recipe of IMAGES[name]) {
    const writer = new LayerWriter(blobs)
    if (layers.length === 0) await writePrograms(writer)
    await writeLayer(writer, recipe, random, layers.length)
    layers.push(await writer.finish())
    entryCount += writer.entryCount
    contentBytes += writer.contentBytes
  }
  writeDocuments(layout, blobs, layers)
  return { name, layout, layers, entryCount, contentBytes }
}

/** What a container of the image can run. */
async function writePrograms(writer: LayerWriter): Promise<void> {
  const busybox = Bun.which('busybox')
  if (busybox === null) throw new Error('Cannot make an image: busybox is not installed')
  const content = readFileSync(busybox)
  for (const name of ['bin/', 'tmp/']) await writer.entry({ name, type: '5', mode: 0o755 })
  await writer.entry({ name: 'bin/busybox', type: '0', mode: 0o755, bytes: content.length }, content)
  for (const each of ['true', 'sh', 'cp'])
    await writer.entry({ name: `bin/${each}`, type: '2', mode: 0o777, linkname: 'busybox' })
}

async function writeLayer(writer: LayerWriter, recipe: Recipe, random: Random, layer: number): Promise<void> {
  for (let file = 0; file < recipe.files; file++) {
    const directory = Math.floor(file / recipe.filesPerDirectory)
    const path = `usr/share/part-${Math.floor(directory / 40)}/package-${directory}-${layer}`
    if (file % recipe.filesPerDirectory === 0) await writer.entry({ name: `${path}/`, type: '5', mode: 0o755 })
    // A high power of an even distribution: few are large.
    const bytes = Math.round(recipe.smallBytes + (recipe.largeBytes - recipe.smallBytes) * random.next() ** 8)
    const name = `${path}/file-${file}.so.${random.integer(9)}`
    await writer.entry({ name, type: '0', mode: file % 5 === 0 ? 0o755 : 0o644, bytes }, random)
    if (file % 9 === 0) await writer.entry({ name: `${name}.link`, type: '2', mode: 0o777, linkname: name })
    if (file % 60 === 0) await writer.entry({ name: `${name}.hard`, type: '1', mode: 0o644, linkname: name })
  }
}

function writeDocuments(layout: string, blobs: string, layers: readonly BenchLayer[]): void {
  const document = (value: unknown, mediaType: string): unknown => {
    const text = JSON.stringify(value)
    const hex = createHash('sha256').update(text).digest('hex')
    writeFileSync(join(blobs, hex), text)
    return { mediaType, digest: `sha256:${hex}`, size: text.length }
  }
  const rootfs = { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) }
  const config = document(
    { architecture: 'amd64', os: 'linux', config: {}, rootfs },
    'application/vnd.oci.image.config.v1+json',
  )
  const mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip'
  const descriptors = layers.map(({ digest, sizeBytes }) => ({ mediaType, digest, size: sizeBytes }))
  const manifestType = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = document({ schemaVersion: 2, mediaType: manifestType, config, layers: descriptors }, manifestType)
  const annotated = { ...(manifest as object), annotations: { 'org.opencontainers.image.ref.name': 'bench' } }
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [annotated] }))
}

/** Numbers that are the same each time (xorshift32). */
class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed * 2_654_435_761 || 1
  }

  next(): number {
    let state = this.#state
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    this.#state = state
    return (state >>> 0) / 2 ** 32
  }

  integer(limit: number): number {
    return Math.floor(this.next() * limit)
  }
}

const POOL_BYTES = 8 * MIB
let pool: Buffer | null = null

/** Half words, half noise, in runs: it compresses to some 40 %, as programs and their data do. */
function contentPool(): Buffer {
  if (pool !== null) return pool
  const random = new Random(7)
  const words = Array.from({ length: 2000 }, () =>
    Array.from({ length: 2 + random.integer(9) }, () => String.fromCharCode(97 + random.integer(26))).join(''),
  )
  const made = Buffer.alloc(POOL_BYTES)
  for (let at = 0; at < POOL_BYTES; ) {
    if (random.next() < 0.008) {
      const end = Math.min(POOL_BYTES, at + 64 + random.integer(256))
      while (at < end) made[at++] = random.integer(256)
    } else at += made.write(`${words[random.integer(words.length)]} `, at, 'latin1')
  }
  pool = made
  return made
}

interface WrittenEntry {
  readonly name: string
  readonly type: string
  readonly mode: number
  readonly linkname?: string
  readonly bytes?: number
}

const BLOCK = 512

/** Writes one layer's archive, compressed, and finds out its digests on the way. */
class LayerWriter {
  readonly #directory: string
  readonly #file: number
  readonly #gzip: Gzip
  readonly #diffId: Hash = createHash('sha256')
  readonly #digest: Hash = createHash('sha256')
  readonly #ended: Promise<void>
  entryCount = 0
  contentBytes = 0

  constructor(directory: string) {
    this.#directory = directory
    this.#file = openSync(join(directory, 'making'), 'w')
    this.#gzip = createGzip({ level: 6 })
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#ended = promise
    this.#gzip.on('error', reject).on('end', resolve)
    this.#gzip.on('data', (piece: Buffer) => {
      this.#digest.update(piece)
      writeSync(this.#file, piece)
    })
  }

  /** Writes an entry with its content: the bytes, or as many of the pool as it has, from places that the numbers say. */
  async entry(entry: WrittenEntry, content: Random | Uint8Array = Buffer.alloc(0)): Promise<void> {
    const bytes = entry.bytes ?? 0
    await this.#write(headerOf(entry))
    if (content instanceof Random) await this.#writeFromPool(bytes, content)
    else await this.#write(content)
    await this.#write(Buffer.alloc((BLOCK - (bytes % BLOCK)) % BLOCK))
    this.entryCount++
    this.contentBytes += bytes
  }

  async #writeFromPool(bytes: number, random: Random): Promise<void> {
    for (let left = bytes; left > 0; ) {
      const part = Math.min(left, MIB)
      const at = random.integer(POOL_BYTES - part)
      await this.#write(contentPool().subarray(at, at + part))
      left -= part
    }
  }

  async finish(): Promise<BenchLayer> {
    await this.#write(Buffer.alloc(2 * BLOCK))
    this.#gzip.end()
    await this.#ended
    closeSync(this.#file)
    const hex = this.#digest.digest('hex')
    const path = join(this.#directory, hex)
    renameSync(join(this.#directory, 'making'), path)
    const diffId = `sha256:${this.#diffId.digest('hex')}`
    return { path, digest: `sha256:${hex}`, diffId, sizeBytes: statSync(path).size }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    this.#diffId.update(bytes)
    if (!this.#gzip.write(bytes)) await new Promise(resolve => this.#gzip.once('drain', resolve))
  }
}

function headerOf({ name, type, mode, linkname = '', bytes = 0 }: WrittenEntry): Buffer {
  const header = Buffer.alloc(BLOCK)
  const octal = (value: number, size: number): string => value.toString(8).padStart(size - 1, '0')
  header.write(name, 0)
  header.write(octal(mode, 8), 100)
  header.write(octal(0, 8), 108)
  header.write(octal(0, 8), 116)
  header.write(octal(bytes, 12), 124)
  header.write(octal(1_700_000_000, 12), 136)
  header.write(`        ${type}${linkname}`, 148)
  header.write('ustar\x0000', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${octal(sum, 7)}\0 `, 148)
  return header
}

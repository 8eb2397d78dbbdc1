/** Blobs that are cut off, damaged, or made to fill the disk, the memory or the time: class E. */
import { describe, expect } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { BerthError, messageOf } from '../../src/lib/error.ts'
import { parseDigest } from '../../src/oci/digest.ts'
import { type Layer, LayerStore } from '../../src/snapshot/layer-store.ts'
import { DEFAULT_UNPACK_LIMITS, type UnpackLimits } from '../../src/snapshot/unpack-limits.ts'
import { testIf } from '../support/requirement.ts'
import { archive, encodeEntry } from '../support/tar-archive.ts'
import { sha256 } from './layout-builder.ts'
import { TemporaryDirectory } from './tree.ts'

const rootTest = testIf('root')
const COMPRESS = { gzip: gzipSync, zstd: zstdCompressSync } as const
const FORMATS = ['gzip', 'zstd'] as const
const IS_LONG = process.env['BERTH_TEST_LONG'] === '1'
/** Besides the first and last ones of a blob. In the long run every position. */
const POSITIONS = IS_LONG ? 100_000 : 10
const POSITIONS_LIMIT_MS = IS_LONG ? 3_600_000 : 60_000

const tar = archive(
  ...Array.from({ length: 20 }, (_, index) => ({ name: `d${index}/file`, content: `${index} `.repeat(400 + index) })),
)
const diffId = parseDigest(sha256(tar))

class Scene implements Disposable {
  readonly #temporary = new TemporaryDirectory()
  #store: LayerStore | undefined

  async unpack(id: string, pieces: Iterable<Uint8Array>, limits: Partial<UnpackLimits> = {}): Promise<Layer> {
    this.#store ??= await LayerStore.open(this.#temporary.path)
    const open = async function* (): AsyncGenerator<Uint8Array> {
      yield* pieces
    }
    return await this.#store.unpack(parseDigest(id), open, { limits: { ...DEFAULT_UNPACK_LIMITS, ...limits } })
  }

  /** Why it can't be unpacked; null when it can. Nothing may be left of it. */
  async refusal(id: string, pieces: Iterable<Uint8Array>, limits?: Partial<UnpackLimits>): Promise<string | null> {
    const outcome = await this.unpack(id, pieces, limits).catch((error: unknown) => error)
    if (!(outcome instanceof Error)) return null
    expect(outcome).toBeInstanceOf(BerthError)
    expect(readdirSync(join(this.#temporary.path, 'layers'))).toEqual([])
    return messageOf(outcome)
  }

  [Symbol.dispose](): void {
    this.#temporary[Symbol.dispose]()
  }
}

/** Some positions in every part of a blob: each one in its head and tail, and every so many bytes between. */
function positionsIn(bytes: number, count: number): readonly number[] {
  const step = Math.max(1, Math.floor(bytes / count))
  const between = Array.from({ length: Math.floor(bytes / step) }, (_, index) => index * step)
  const ends = Array.from({ length: 6 }, (_, index) => [index * 2, bytes - 1 - index * 2]).flat()
  return [...new Set([...between, ...ends])].sort((a, b) => a - b)
}

describe('a blob', () => {
  for (const format of FORMATS) {
    const blob = COMPRESS[format](tar)

    rootTest(
      `of ${format} that is cut off anywhere is refused and leaves nothing`,
      async () => {
        using scene = new Scene()
        for (const at of positionsIn(blob.length, POSITIONS)) {
          expect([at, await scene.refusal(diffId, [blob.subarray(0, at)])]).toEqual([
            at,
            expect.stringMatching(/Cannot (unpack|decompress|read|verify)/),
          ])
        }
      },
      POSITIONS_LIMIT_MS,
    )

    rootTest(
      `of ${format} with a damaged byte anywhere is refused, unless the content is the same`,
      async () => {
        for (const at of positionsIn(blob.length, POSITIONS)) {
          using scene = new Scene()
          const damaged = Buffer.from(blob)
          damaged[at] = (damaged[at] ?? 0) ^ 0xff
          const refusal = await scene.refusal(diffId, [damaged])
          // Time, name and flags of a header say nothing about the content; that the digest is right is what counts.
          if (refusal !== null) expect(refusal).toMatch(/Cannot (unpack|decompress|read|verify)/)
          else expect(at).toBeLessThan(12)
        }
      },
      POSITIONS_LIMIT_MS,
    )

    rootTest(`of ${format} with rubbish behind its end never gives another layer`, async () => {
      using scene = new Scene()
      const refusal = await scene.refusal(diffId, [blob, Buffer.from('rubbish'.repeat(100))])
      if (refusal === null) expect((await scene.unpack(diffId, [])).entryCount).toBe(20)
      else expect(refusal).toMatch(/Cannot decompress/)
    })

    rootTest(`of ${format} in pieces of one byte is read like any other`, async () => {
      using scene = new Scene()
      const small = archive({ name: 'a', content: 'x' })
      const bytes = COMPRESS[format](small)
      const pieces = Array.from(bytes, byte => Uint8Array.of(byte))
      expect((await scene.unpack(sha256(small), pieces)).entryCount).toBe(1)
    })
  }

  rootTest('of 10 GB of zeros is refused by its ratio before it has filled anything (CVE-2017-14992)', async () => {
    using scene = new Scene()
    // Each member is 16 MiB of zeros in 16 KiB; 640 of them would be 10 GiB.
    const member = gzipSync(new Uint8Array(16 * 1024 ** 2))
    const header = encodeEntry({ name: 'zeros', edit: bytes => bytes.write('0120000000000', 124) })
    const pieces = function* (): Generator<Uint8Array> {
      yield gzipSync(header)
      for (let count = 0; count < 640; count++) yield member
    }
    const message = await scene.refusal(sha256('zeros'), pieces())
    expect(message).toMatch(/it has more than 200 times its compressed size, the configured limit/)
  })

  rootTest('whose bytes exceed the limit is refused, compressed or not', async () => {
    using scene = new Scene()
    for (const blob of [tar, gzipSync(tar), zstdCompressSync(tar)]) {
      expect(await scene.refusal(diffId, [blob], { bytes: 10_000 })).toMatch(/more than 10000 bytes/)
    }
  })

  rootTest('whose sparse files are larger than the limit together is refused', async () => {
    using scene = new Scene()
    const sparse = (name: string) => ({ name, pax: { 'GNU.sparse.map': '0,0', 'GNU.sparse.size': '6000000000' } })
    const bytes = archive(sparse('a'), sparse('b'))
    expect(await scene.refusal(sha256(bytes), [bytes], { bytes: 10_000_000_000 })).toMatch(/files of more than/)
  })

  rootTest('with more entries than the limit is refused', async () => {
    using scene = new Scene()
    expect(await scene.refusal(diffId, [tar], { entries: 19 })).toMatch(/more than 19 entries/)
    expect(await scene.refusal(diffId, [tar], { entries: 20 })).toBeNull()
  })

  rootTest('whose content is not what its diffID says is refused (CVE-2026-111361)', async () => {
    using scene = new Scene()
    const other = archive({ name: 'other' })
    for (const blob of [other, gzipSync(other), zstdCompressSync(other)]) {
      expect(await scene.refusal(diffId, [blob])).toMatch(/Cannot unpack layer .* has the digest sha256:/)
    }
  })

  rootTest('with a tail behind the end of its archive is verified with it (CVE-2026-111361)', async () => {
    using scene = new Scene()
    const long = Buffer.concat([tar, Buffer.from('tail'.repeat(1000))])
    expect(await scene.refusal(diffId, [gzipSync(long)])).toMatch(/has the digest/)
    expect((await scene.unpack(sha256(long), [gzipSync(long)])).entryCount).toBe(20)
  })
})

/** A million in the long run, where the memory of the process that unpacks is looked at too. */
const TINY_FILES = IS_LONG ? 1_000_000 : 10_000
const TINY_LIMIT_MS = TINY_FILES === 1_000_000 ? 600_000 : 60_000
/** What Bun takes by itself is half of it. */
const WORKER_LIMIT_KIB = 250 * 1024

rootTest(
  'a layer of very many tiny files is unpacked in bounded memory (BERTH_TEST_LONG=1: a million)',
  async () => {
    using scene = new Scene()
    const hasher = new Bun.CryptoHasher('sha256')
    const entries = function* (): Generator<Buffer> {
      for (let index = 0; index < TINY_FILES; index += 1000) {
        const batch = Array.from({ length: 1000 }, (_, each) =>
          encodeEntry({ name: `d${Math.floor(index / 1000)}/f${each}`, content: 'x' }),
        )
        yield Buffer.concat(batch)
      }
      yield Buffer.alloc(1024)
    }
    for (const piece of entries()) hasher.update(piece)
    let peakKib = 0
    const watched = function* (): Generator<Buffer> {
      for (const piece of entries()) {
        yield piece
        peakKib = Math.max(peakKib, ...workerPeaks())
      }
    }
    const layer = await scene.unpack(`sha256:${hasher.digest('hex')}`, watched())
    expect(layer.entryCount).toBe(TINY_FILES)
    expect(peakKib).toBeGreaterThan(0)
    expect(peakKib).toBeLessThan(WORKER_LIMIT_KIB)
  },
  TINY_LIMIT_MS,
)

/** VmHWM of this process's children that unpack, in KiB: proc_pid_status(5). */
function workerPeaks(): readonly number[] {
  return readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8')
    .split(' ')
    .filter(pid => pid !== '')
    .map(pid => {
      try {
        return Number(/VmHWM:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
      } catch {
        // It has ended.
        return 0
      }
    })
}

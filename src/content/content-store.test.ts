import { describe, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Digest, parseDigest } from '../oci/digest.ts'
import { ContentStore } from './content-store.ts'
import { newPartialName } from './partial-name.ts'
import type { BlobName } from './verified-read.ts'

const MIB = 1024 * 1024

class Box implements AsyncDisposable {
  readonly root = mkdtempSync(join(tmpdir(), 'berth-content-'))
  readonly content = join(this.root, 'content')

  open(): Promise<ContentStore> {
    return ContentStore.open(this.root)
  }

  blobPath({ digest }: BlobName): string {
    return join(this.content, 'blobs', digest.replace(':', '/'))
  }

  partials(): readonly string[] {
    return readdirSync(join(this.content, 'ingest'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.root, { recursive: true })
  }
}

function bytesOf(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let index = 0, state = seed; index < length; index++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    bytes[index] = state >>> 24
  }
  return bytes
}

function nameOf(bytes: Uint8Array, algorithm: 'sha256' | 'sha512' = 'sha256'): BlobName {
  const hex = new Bun.CryptoHasher(algorithm).update(bytes).digest('hex')
  return { digest: parseDigest(`${algorithm}:${hex}`), sizeBytes: bytes.length }
}

async function store(content: ContentStore, bytes: Uint8Array): Promise<BlobName> {
  await using ingestion = await content.ingest(nameOf(bytes))
  for (let at = ingestion.offset; at < bytes.length; at += 60_000)
    await ingestion.write(bytes.subarray(at, at + 60_000))
  return await ingestion.commit()
}

/** Begins a blob and gives it up after some bytes. */
async function giveUp(content: ContentStore, bytes: Uint8Array, after: number): Promise<void> {
  await using ingestion = await content.ingest(nameOf(bytes))
  await ingestion.write(bytes.subarray(ingestion.offset, after))
}

/** Where the next ingestion of the blob would go on. */
async function offsetOf(content: ContentStore): Promise<number> {
  await using ingestion = await content.ingest(blob)
  return ingestion.offset
}

async function readAll(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return Buffer.concat(await Array.fromAsync(pieces))
}

const whole = bytesOf(3 * MIB + 7)
const blob = nameOf(whole)

describe('ContentStore.ingest()', () => {
  test.each([1, 7000, 65_536, MIB - 1, MIB, MIB + 1, 2 * MIB, whole.length])(
    'stores what comes in pieces of %d bytes',
    async length => {
      await using box = new Box()
      const content = await box.open()
      const bytes = length === 1 ? whole.subarray(0, 5000) : whole
      await using ingestion = await content.ingest(nameOf(bytes))
      // Every piece is overwritten after it is taken: what is written must be what was given.
      const reused = new Uint8Array(length)
      for (let at = 0; at < bytes.length; at += length) {
        const piece = bytes.subarray(at, at + length)
        reused.set(piece)
        await ingestion.write(reused.subarray(0, piece.length))
        reused.fill(0xee)
      }
      expect(await ingestion.commit()).toEqual(nameOf(bytes))
      expect(Buffer.compare(await readAll(content.read(nameOf(bytes))), bytes)).toBe(0)
      expect(box.partials()).toEqual([])
    },
  )

  test('takes pieces of all sizes in any order', async () => {
    await using box = new Box()
    const content = await box.open()
    await using ingestion = await content.ingest(blob)
    const sizes = [10, MIB, 3, MIB + 5, 900_000, 200_000]
    for (let at = 0, turn = 0; at < whole.length; turn++) {
      const size = sizes[turn % sizes.length] ?? 1
      await ingestion.write(whole.subarray(at, at + size))
      at += size
    }
    await ingestion.commit()
    expect(Buffer.compare(readFileSync(box.blobPath(blob)), whole)).toBe(0)
  })

  test('stores an empty blob', async () => {
    await using box = new Box()
    const content = await box.open()
    expect(await store(content, new Uint8Array())).toEqual(nameOf(new Uint8Array()))
    expect(await content.find(nameOf(new Uint8Array()).digest)).toBe(0)
  })

  test('names a blob by its sha256 digest when none is known', async () => {
    await using box = new Box()
    const content = await box.open()
    await using ingestion = await content.ingest(null)
    await ingestion.write(whole)
    expect(await ingestion.commit()).toEqual(blob)
  })

  test('tells the digest before anybody can find the blob', async () => {
    await using box = new Box()
    const content = await box.open()
    await using ingestion = await content.ingest(null)
    await ingestion.write(whole)
    const told: [Digest, boolean][] = []
    await ingestion.commit({ beforeVisible: digest => told.push([digest, existsSync(box.blobPath(blob))]) })
    expect(told).toEqual([[blob.digest, false]])
    expect(await content.find(blob.digest)).toBe(blob.sizeBytes)
  })

  test('keeps nothing of a blob that nobody could be told of', async () => {
    await using box = new Box()
    const content = await box.open()
    await using ingestion = await content.ingest(null)
    await ingestion.write(whole)
    const beforeVisible = (): never => {
      throw new Error('the database is locked')
    }
    await expect(ingestion.commit({ beforeVisible })).rejects.toThrow('the database is locked')
    expect(await content.find(blob.digest)).toBeNull()
    expect(box.partials()).toEqual([])
  })

  test('verifies a sha512 digest', async () => {
    await using box = new Box()
    const content = await box.open()
    const name = nameOf(whole, 'sha512')
    await using ingestion = await content.ingest(name)
    await ingestion.write(whole)
    expect(await ingestion.commit()).toEqual(name)
    expect(existsSync(join(box.content, 'blobs/sha512', name.digest.slice(7)))).toBe(true)
    await using wrong = await content.ingest({ ...nameOf(bytesOf(9), 'sha512'), sizeBytes: 10 })
    await wrong.write(bytesOf(10, 3))
    await expect(wrong.commit()).rejects.toThrow('its content has the digest sha512:')
  })

  test('shows nothing of a blob before its commit', async () => {
    await using box = new Box()
    const content = await box.open()
    await using ingestion = await content.ingest(blob)
    await ingestion.write(whole)
    expect(await content.find(blob.digest)).toBeNull()
    expect(await Array.fromAsync(content.list())).toEqual([])
    await ingestion.commit()
    expect(await content.find(blob.digest)).toBe(whole.length)
  })

  test('refuses other bytes and keeps nothing of them', async () => {
    await using box = new Box()
    const content = await box.open()
    await using ingestion = await content.ingest({ ...blob, sizeBytes: 100 })
    await ingestion.write(bytesOf(100, 7))
    await expect(ingestion.commit()).rejects.toThrow(/its content has the digest sha256:/)
    expect(box.partials()).toEqual([])
    expect(await content.find(blob.digest)).toBeNull()
  })

  test('refuses the byte that is too much before it is written', async () => {
    await using box = new Box()
    const content = await box.open()
    await using ingestion = await content.ingest({ ...blob, sizeBytes: 10 })
    await ingestion.write(whole.subarray(0, 10))
    await expect(ingestion.write(whole.subarray(10, 11))).rejects.toThrow('it has more than 10 bytes')
    expect(box.partials()).toEqual([])
    await expect(ingestion.write(whole)).rejects.toThrow('its ingestion has ended')
  })

  test('refuses the commit of too few bytes, and keeps those for the next one', async () => {
    await using box = new Box()
    const content = await box.open()
    {
      await using ingestion = await content.ingest(blob)
      await ingestion.write(whole.subarray(0, 100))
      await expect(ingestion.commit()).rejects.toThrow(`it ends after 100 bytes, expected ${whole.length}`)
    }
    expect(await offsetOf(content)).toBe(100)
  })

  test('goes on where another ingestion was given up', async () => {
    await using box = new Box()
    const content = await box.open()
    await giveUp(content, whole, 2 * MIB + 3)
    const again = await box.open()
    await using ingestion = await again.ingest(blob)
    expect(ingestion.offset).toBe(2 * MIB + 3)
    expect(Buffer.compare(await readAll(ingestion.adopted()), whole.subarray(0, 2 * MIB + 3))).toBe(0)
    await ingestion.write(whole.subarray(ingestion.offset))
    expect((await readAll(ingestion.adopted())).length).toBe(2 * MIB + 3)
    expect(await ingestion.commit()).toEqual(blob)
    expect(box.partials()).toEqual([])
  })

  test('refuses a blob whose adopted beginning was damaged, and starts anew then', async () => {
    await using box = new Box()
    const content = await box.open()
    await giveUp(content, whole, 1000)
    writeFileSync(join(box.content, 'ingest', box.partials()[0] ?? ''), bytesOf(1000, 9))
    await expect(store(content, whole)).rejects.toThrow('its content has the digest')
    expect(await offsetOf(content)).toBe(0)
    expect(await store(content, whole)).toEqual(blob)
  })

  test('takes the longest of several beginnings, once, and removes the others', async () => {
    await using box = new Box()
    const content = await box.open()
    const beginnings = await Promise.all([100, 2000, 300].map(() => content.ingest(blob)))
    for (const [index, ingestion] of beginnings.entries()) {
      await ingestion.write(whole.subarray(0, [100, 2000, 300][index]))
    }
    for (const ingestion of beginnings) await ingestion[Symbol.asyncDispose]()
    expect(box.partials()).toHaveLength(3)
    const several = await Promise.all([content.ingest(blob), content.ingest(blob)])
    const offsets = several.map(({ offset }) => offset)
    expect(offsets).toContain(2000)
    expect(box.partials()).toHaveLength(2)
    for (const ingestion of several) await ingestion.discard()
    expect(box.partials()).toEqual([])
  })

  test('leaves a beginning alone that is too long, has a second name, is a link or a pipe, or is of another boot', async () => {
    await using box = new Box()
    const content = await box.open()
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').slice(0, 8)
    const secret = join(box.root, 'secret')
    writeFileSync(secret, whole.subarray(0, 50))
    const free = (of = boot) =>
      join(box.content, 'ingest', newPartialName({ digest: blob.digest, boot: of, owner: null }))
    writeFileSync(free(), bytesOf(whole.length + 1))
    writeFileSync(free('00000000'), whole.subarray(0, 99))
    symlinkSync(secret, free())
    linkSync(secret, free())
    execFileSync('mkfifo', [free()])
    mkdirSync(free())
    expect(await store(content, whole)).toEqual(blob)
    expect(readFileSync(secret)).toHaveLength(50)
    expect(box.partials()).toHaveLength(1)
  })

  test('of what is there already needs no byte', async () => {
    await using box = new Box()
    const content = await box.open()
    await store(content, whole)
    await using ingestion = await content.ingest(blob)
    expect(ingestion.offset).toBe(whole.length)
    expect(Buffer.compare(await readAll(ingestion.adopted()), whole)).toBe(0)
    await expect(ingestion.write(new Uint8Array(1))).rejects.toThrow('it has more than')
    expect(await ingestion.commit()).toEqual(blob)
    await ingestion.discard()
    expect(await content.find(blob.digest)).toBe(whole.length)
  })

  test('of one digest many times at once gives each its blob', async () => {
    await using box = new Box()
    const content = await box.open()
    const names = await Promise.all(Array.from({ length: 8 }, () => store(content, whole)))
    expect(names).toEqual(Array(8).fill(blob))
    expect(box.partials()).toEqual([])
    expect(Buffer.compare(readFileSync(box.blobPath(blob)), whole)).toBe(0)
  })

  test('stops hashing a beginning when it is aborted, and keeps it', async () => {
    await using box = new Box()
    const content = await box.open()
    await giveUp(content, whole, 2 * MIB)
    await expect(content.ingest(blob, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
    expect(await offsetOf(content)).toBe(2 * MIB)
  })
})

function exchange(path: string, make: (aside: string) => void): void {
  renameSync(path, `${path}x`)
  make(`${path}x`)
}

describe('ContentStore.read()', () => {
  test.each<[string, (path: string) => void, RegExp]>([
    ['a flipped bit', path => writeFileSync(path, whole.with(77, (whole[77] ?? 0) ^ 1)), /its content has the digest/],
    ['a truncated blob', path => truncateSync(path, 100), /it has 100 bytes, expected/],
    ['a longer blob', path => appendFileSync(path, 'x'), /bytes, expected/],
    ['a link', path => exchange(path, aside => symlinkSync(aside, path)), /it is a link/],
    ['a named pipe', path => exchange(path, () => execFileSync('mkfifo', [path])), /it is no regular file/],
    ['a directory', path => exchange(path, () => mkdirSync(path)), /it is no regular file/],
    ['nothing', path => rmSync(path), /it is not there/],
  ])('refuses %s', async (_, damage, message) => {
    await using box = new Box()
    const content = await box.open()
    await store(content, whole)
    damage(box.blobPath(blob))
    await expect(readAll(content.read(blob))).rejects.toThrow(message)
    const damaged = await Array.fromAsync(content.verify([blob]))
    expect(damaged.filter(({ digest }) => digest === blob.digest)).toHaveLength(1)
  })

  test('lets go of the file when nobody reads on', async () => {
    await using box = new Box()
    const content = await box.open()
    await store(content, whole)
    const open = () => readdirSync('/proc/self/fd').length
    const before = open()
    for await (const _ of content.read(blob)) break
    expect(open()).toBe(before)
  })

  test('gives who reads a removed blob the rest of it', async () => {
    await using box = new Box()
    const content = await box.open()
    await store(content, whole)
    const pieces: Uint8Array[] = []
    for await (const piece of content.read(blob)) {
      if (pieces.length === 0) expect(content.removeNow([blob.digest])).toBe(whole.length)
      pieces.push(piece)
    }
    expect(Buffer.compare(Buffer.concat(pieces), whole)).toBe(0)
    expect(await content.find(blob.digest)).toBeNull()
  })

  test('can be aborted', async () => {
    await using box = new Box()
    const content = await box.open()
    await store(content, whole)
    await expect(readAll(content.read(blob, AbortSignal.abort(new Error('enough'))))).rejects.toThrow('enough')
  })
})

test('ContentStore.readDocument() refuses 100 MB before it reads a byte', async () => {
  await using box = new Box()
  const content = await box.open()
  const huge = { ...blob, sizeBytes: 100_000_000 }
  await expect(content.readDocument(huge)).rejects.toThrow('it has 100000000 bytes, expected at most 4194304')
})

test('ContentStore.put() stores a document under its digest, also twice', async () => {
  await using box = new Box()
  const content = await box.open()
  const document = new TextEncoder().encode('{"schemaVersion":2}')
  const name = await content.put(document)
  expect(name).toEqual(nameOf(document))
  expect(await content.put(document)).toEqual(name)
  expect(Buffer.from(await content.readDocument(name)).toString()).toBe('{"schemaVersion":2}')
})

describe('ContentStore.removeNow()', () => {
  test('returns the bytes freed, and passes by what is not there', async () => {
    await using box = new Box()
    const content = await box.open()
    const names = await Promise.all([store(content, whole), store(content, bytesOf(100))])
    const digests = [...names.map(({ digest }) => digest), nameOf(bytesOf(3)).digest]
    expect(content.removeNow(digests)).toBe(whole.length + 100)
    expect(await Array.fromAsync(content.list())).toEqual([])
  })

  test('removes a link, not what it points to', async () => {
    await using box = new Box()
    const content = await box.open()
    const secret = join(box.root, 'secret')
    writeFileSync(secret, 'x')
    symlinkSync(secret, box.blobPath(blob))
    content.removeNow([blob.digest])
    expect(readFileSync(secret, 'utf8')).toBe('x')
    expect(existsSync(box.blobPath(blob))).toBe(false)
  })
})

test('ContentStore.list() names what is there and nothing else', async () => {
  await using box = new Box()
  const content = await box.open()
  const names = await Promise.all([whole, bytesOf(10), bytesOf(20)].map(each => store(content, each)))
  writeFileSync(join(box.content, 'blobs/sha256/README'), '')
  writeFileSync(join(box.content, 'blobs/junk'), '')
  const byDigest = (a: BlobName, b: BlobName) => (a.digest < b.digest ? -1 : 1)
  const found = await Array.fromAsync(content.list(), ({ digest, sizeBytes }) => ({ digest, sizeBytes }))
  expect(found.sort(byDigest)).toEqual(names.sort(byDigest))
})

describe('ContentStore.verify()', () => {
  test('finds nothing in a store that is whole', async () => {
    await using box = new Box()
    const content = await box.open()
    const names = await Promise.all([store(content, whole), store(content, bytesOf(10))])
    expect(await Array.fromAsync(content.verify(names))).toEqual([])
  })

  test('names a flipped bit, a truncated blob, a missing one, and what is no blob', async () => {
    await using box = new Box()
    const content = await box.open()
    const contents = [bytesOf(1000, 1), bytesOf(1000, 2), bytesOf(1000, 3), bytesOf(1000, 4)] as const
    const names = await Promise.all(contents.map(each => store(content, each)))
    const paths = names.map(name => box.blobPath(name))
    writeFileSync(paths[0] ?? '', contents[0].with(999, (contents[0][999] ?? 0) ^ 0x80))
    truncateSync(paths[1] ?? '', 999)
    rmSync(paths[2] ?? '')
    writeFileSync(join(box.content, 'blobs/sha256/junk'), '')
    const found = new Map((await Array.fromAsync(content.verify(names))).map(({ path, why }) => [path, why]))
    expect([...found.keys()].sort()).toEqual([...paths.slice(0, 3), join(box.content, 'blobs/sha256/junk')].sort())
    expect(found.get(paths[0] ?? '')).toContain('its content has the digest')
    expect(found.get(paths[1] ?? '')).toBe('it has 999 bytes, expected 1000')
    expect(found.get(paths[2] ?? '')).toBe('it is not there')
  })

  test('finds a truncated blob of which nobody says how large it is', async () => {
    await using box = new Box()
    const content = await box.open()
    await store(content, whole)
    truncateSync(box.blobPath(blob), MIB)
    const digests = (await Array.fromAsync(content.verify())).map(({ digest }): Digest | null => digest)
    expect(digests).toEqual([blob.digest])
  })
})

describe('ContentStore.removeLeftovers()', () => {
  test('keeps what can be gone on with, for a week', async () => {
    await using box = new Box()
    const content = await box.open()
    await giveUp(content, whole, 1000)
    expect(await content.removeLeftovers()).toBe(0)
    const [name = ''] = box.partials()
    const eightDaysAgo = Date.now() / 1000 - 8 * 24 * 3600
    utimesSync(join(box.content, 'ingest', name), eightDaysAgo, eightDaysAgo)
    expect(await content.removeLeftovers()).toBe(1000)
    expect(box.partials()).toEqual([])
  })

  test('with 0 removes all but what is being written', async () => {
    await using box = new Box()
    const content = await box.open()
    await giveUp(content, whole, 1000)
    await using ingestion = await content.ingest(nameOf(bytesOf(2000)))
    await ingestion.write(bytesOf(2000))
    expect(await content.removeLeftovers(0)).toBe(1000)
    expect(await ingestion.commit()).toEqual(nameOf(bytesOf(2000)))
  })

  test('removes what is of no use: of another boot, unnamed, empty, stored meanwhile', async () => {
    await using box = new Box()
    const content = await box.open()
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').slice(0, 8)
    const dead = { pid: process.pid, startTicks: 1 }
    const { digest } = blob
    const other = nameOf(bytesOf(5)).digest
    await store(content, whole)
    for (const name of [
      newPartialName({ digest: other, boot: 'ffffffff', owner: dead }),
      newPartialName({ digest: null, boot, owner: dead }),
      newPartialName({ digest, boot, owner: null }),
      'something',
    ]) {
      writeFileSync(join(box.content, 'ingest', name), 'abc')
    }
    writeFileSync(join(box.content, 'ingest', newPartialName({ digest: other, boot, owner: dead })), '')
    await box.open()
    expect(box.partials()).toEqual([])
  })
})

describe('ContentStore.open()', () => {
  test('makes a store that nobody else can look into', async () => {
    await using box = new Box()
    await box.open()
    expect(statSync(box.content).mode & 0o777).toBe(0o700)
    expect(readFileSync(join(box.content, 'oci-layout'), 'utf8')).toBe('{"imageLayoutVersion":"1.0.0"}')
  })

  test('many times at once makes one store', async () => {
    await using box = new Box()
    const stores = await Promise.all(Array.from({ length: 8 }, () => box.open()))
    await Promise.all(stores.map(each => store(each, whole)))
    expect(box.partials()).toEqual([])
  })

  test('refuses a layout of another version', async () => {
    await using box = new Box()
    await box.open()
    writeFileSync(join(box.content, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}')
    await expect(box.open()).rejects.toThrow('imageLayoutVersion is "2.0.0"')
  })
})

/** A content store of a test's own, and programs that write to it and can be killed. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ContentStore } from '../../src/content/content-store.ts'
import type { BlobName } from '../../src/content/verified-read.ts'
import { parseDigest } from '../../src/oci/digest.ts'

const STORE = join(import.meta.dir, '../../src/content/content-store.ts')

/** A data root that goes when its variable does. */
export class ContentBox implements Disposable {
  readonly root = mkdtempSync(join(tmpdir(), 'berth-content-'))

  open(): Promise<ContentStore> {
    return ContentStore.open(this.root)
  }

  /** The names below `content/ingest`. */
  partials(): readonly string[] {
    return readdirSync(join(this.root, 'content/ingest'))
  }

  /** Puts bytes into a file beside the store, where an ingesting program can find them. */
  source(bytes: Uint8Array): BlobSource {
    const name = nameOf(bytes)
    const path = join(this.root, name.digest.slice(7, 19))
    writeFileSync(path, bytes)
    return { name, path }
  }

  /** A program that ingests the source from where the store says, in small pieces, and prints the offset it went on from. */
  ingest({ name, path }: BlobSource): Bun.Subprocess<'ignore', 'pipe', 'inherit'> {
    const program = `
      const { ContentStore } = await import(${JSON.stringify(STORE)})
      const store = await ContentStore.open(${JSON.stringify(this.root)})
      const bytes = await Bun.file(${JSON.stringify(path)}).bytes()
      await using ingestion = await store.ingest(${JSON.stringify(name)})
      console.log(ingestion.offset)
      for (let at = ingestion.offset; at < bytes.length; at += 32768) await ingestion.write(bytes.subarray(at, at + 32768))
      await ingestion.commit()`
    return Bun.spawn([process.execPath, '-e', program], { stdin: 'ignore', stdout: 'pipe', stderr: 'inherit' })
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true })
  }
}

/** Bytes in a file, and what they are called in a store. */
export interface BlobSource {
  readonly name: BlobName
  readonly path: string
}

/** What bytes are called in a store. */
export function nameOf(bytes: Uint8Array): BlobName {
  const hex = new Bun.CryptoHasher('sha256').update(bytes).digest('hex')
  return { digest: parseDigest(`sha256:${hex}`), sizeBytes: bytes.length }
}

/** Bytes that no two seeds share. */
export function bytesOf(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length)
  const words = new Uint32Array(bytes.buffer, 0, length >>> 2)
  for (let index = 0, state = seed; index < words.length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    words[index] = state
  }
  return bytes
}

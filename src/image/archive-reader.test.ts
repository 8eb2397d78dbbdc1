import { Database } from 'bun:sqlite'
import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { archive } from '../../test/support/tar-archive.ts'
import { ContentStore } from '../content/content-store.ts'
import type { Ingestion } from '../content/ingestion.ts'
import { readArchive } from './archive-reader.ts'
import { ImageRecords } from './image-records.ts'
import { IMAGE_SCHEMA } from './image-schema.ts'

test('readArchive() loses no blob to a collector that runs the moment it appears, whatever its file is called', async () => {
  const root = mkdtempSync(join(tmpdir(), 'berth-archive-'))
  try {
    const content = await ContentStore.open(root)
    const database = new Database(':memory:', { strict: true })
    database.run(IMAGE_SCHEMA)
    const records = new ImageRecords(database)
    const ingest = async (...args: Parameters<ContentStore['ingest']>): Promise<Ingestion> => {
      const ingestion = await content.ingest(...args)
      const commit = ingestion.commit.bind(ingestion)
      ingestion.commit = async options => {
        const blob = await commit(options)
        records.collect({ blob: [blob.digest], layer: [] }, garbage => content.removeNow(garbage.blob))
        return blob
      }
      return ingestion
    }
    using lease = records.lease('test')
    const pieces = async function* (): AsyncGenerator<Uint8Array> {
      yield archive({ name: 'one/layer.tar', content: 'a layer' }, { name: 'c.json', content: '{}' })
    }
    const { blobs } = await readArchive(pieces(), { ingest }, { lease, onProgress: () => undefined })
    expect([...blobs.keys()]).toEqual(['one/layer.tar', 'c.json'])
    for (const { digest, sizeBytes } of blobs.values()) expect(await content.find(digest)).toBe(sizeBytes)
  } finally {
    rmSync(root, { recursive: true })
  }
})

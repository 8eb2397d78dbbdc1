import { Database } from 'bun:sqlite'
import { expect, test } from 'bun:test'
import { parseDigest } from '../oci/digest.ts'
import { IMAGE_SCHEMA } from './image-schema.ts'
import { Transfers } from './transfers.ts'

const DIGEST = parseDigest(`sha256:${'a'.repeat(64)}`)
const OTHER = parseDigest(`sha256:${'b'.repeat(64)}`)

function newDatabase(): Database {
  const database = new Database(':memory:', { strict: true })
  database.run(IMAGE_SCHEMA)
  return database
}

test('begin() lets one transfer a blob at a time, and others at the same time other blobs', async () => {
  const transfers = new Transfers(newDatabase())
  const order: string[] = []
  const first = await transfers.begin(DIGEST)
  const second = transfers.begin(DIGEST).then(place => {
    order.push('second')
    place[Symbol.dispose]()
  })
  const other = await transfers.begin(OTHER)
  other[Symbol.dispose]()
  order.push('other')
  first[Symbol.dispose]()
  await second
  expect(order).toEqual(['other', 'second'])
})

test('begin() does not wait for one that has ended or shows no sign of life', async () => {
  const database = newDatabase()
  const first = await new Transfers(database).begin(DIGEST)
  database.run('UPDATE transfer SET start_ticks = 1')
  const second = await new Transfers(database).begin(DIGEST)
  database.run('UPDATE transfer SET beat_ms = 1')
  const third = await new Transfers(database).begin(DIGEST)
  // Those that were passed over don't take the place away from who has it.
  first[Symbol.dispose]()
  second[Symbol.dispose]()
  expect(database.query('SELECT count(*) FROM transfer').values()).toEqual([[1]])
  third[Symbol.dispose]()
  expect(database.query('SELECT count(*) FROM transfer').values()).toEqual([[0]])
})

test('begin() ends its wait when it is told to', async () => {
  const transfers = new Transfers(newDatabase())
  using _ = await transfers.begin(DIGEST)
  const controller = new AbortController()
  const waiting = transfers.begin(DIGEST, controller.signal)
  controller.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow()
})

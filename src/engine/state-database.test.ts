import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ContainerRow, StateDatabase } from './state-database.ts'

class Place implements Disposable {
  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }

  readonly path: string = mkdtempSync(join(tmpdir(), 'berth-state-'))
}

function row(id: string, name = `name-${id}`): Omit<ContainerRow, 'rangeStart' | 'exitCode'> {
  return {
    id,
    name,
    image: 'host',
    imageDigest: null,
    manifestDigest: null,
    command: ['sh', '-c', 'echo "x"'],
    labels: { a: 'b' },
    created: '2024-01-02T03:04:05.678Z',
    autoRemove: true,
    client: { pid: 5, startTicks: 77 },
  }
}

test('list() returns what add() and ended() were given', () => {
  using place = new Place()
  const database = new StateDatabase(place.path)
  const range = database.add(row('1'), true)
  expect(range?.size).toBe(65_536)
  expect(database.add(row('2'), false)).toBeNull()
  database.ended('2', 7)
  expect(database.list()).toEqual([
    { ...row('1'), rangeStart: range?.start ?? null, exitCode: null },
    { ...row('2'), rangeStart: null, exitCode: 7 },
  ])
  expect(new StateDatabase(place.path).list()).toEqual(database.list())
})

test('add() throws conflict when the name is taken, and names who has it', () => {
  using place = new Place()
  const database = new StateDatabase(place.path)
  database.add(row('1', 'web'), true)
  expect(() => database.add(row('2', 'web'), true)).toThrow(
    'Cannot create container: the name "web" is in use by container 1',
  )
  expect(database.list()).toHaveLength(1)
  database.remove('1')
  database.add(row('2', 'web'), true)
  expect(database.list().map(({ id }) => id)).toEqual(['2'])
})

test('add() uses a range again when its container was removed', () => {
  using place = new Place()
  const database = new StateDatabase(place.path)
  const first = database.add(row('1'), true)
  const second = database.add(row('2'), true)
  expect(second?.start).not.toBe(first?.start ?? 0)
  database.remove('1')
  expect(database.add(row('3'), true)).toEqual(first)
})

test('StateDatabase closes its directory to other users, also one that was there', () => {
  using place = new Place()
  Bun.spawnSync(['chmod', '755', place.path])
  new StateDatabase(place.path)
  expect(statSync(place.path).mode & 0o777).toBe(0o700)
})

test('add() of several processes at once never gives a range twice, and a name once', async () => {
  using place = new Place()
  const script = `
    const { StateDatabase } = await import(${JSON.stringify(join(import.meta.dir, 'state-database.ts'))})
    const database = new StateDatabase(${JSON.stringify(place.path)})
    const me = process.argv.at(-1)
    let conflicts = 0
    for (let count = 0; count < 25; count++) {
      const own = { image: 'host', imageDigest: null, manifestDigest: null, command: [], labels: {}, created: '', autoRemove: true, client: { pid: 1, startTicks: 1 } }
      database.add({ ...own, id: me + count, name: me + count }, true)
      try { database.add({ ...own, id: me + 'x' + count, name: 'shared' + count }, true) }
      catch (error) { if (error.category !== 'conflict') throw error; conflicts++ }
    }
    console.log(conflicts)`
  const processes = ['a', 'b', 'c'].map(name =>
    Bun.spawn([process.execPath, '-e', script, name], { stdout: 'pipe', stderr: 'inherit' }),
  )
  const conflicts = await Promise.all(processes.map(each => new Response(each.stdout).text()))
  expect(conflicts.map(Number).reduce((sum, count) => sum + count)).toBe(50)
  const rows = new StateDatabase(place.path).list()
  expect(rows).toHaveLength(100)
  expect(new Set(rows.map(({ rangeStart }) => rangeStart)).size).toBe(100)
})

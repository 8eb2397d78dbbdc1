/** Garbage collection beside everything that needs content, in processes of their own; and collections that are killed. */
import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { join } from 'node:path'
import { tagged } from '../image/layout-builder.ts'
import { run } from '../image/tree.ts'
import { StoreBox } from '../listing/store-box.ts'
import { PullScene } from '../pull/pull-scene.ts'
import { finish, type Outcome } from '../runtime/verbs-machine.ts'
import { ROOT } from '../support/group.ts'
import { type RequirementName, requirement, testIf } from '../support/requirement.ts'
import { busyboxLayer, dataLayer, engineOf, onDisk } from './storage-box.ts'

const NEEDS: readonly RequirementName[] = [
  'root',
  'overlay',
  'idmapped mounts',
  'command busybox',
  'command docker-registry',
  'command skopeo',
]
const isPossible = NEEDS.every(name => requirement(name).ok)
const isLong = process.env['BERTH_TEST_LONG'] === '1'
const RACE_MS = isLong ? 180_000 : 10_000
const KILLS = isLong ? 200 : 6
/** What one may be told whose image is taken away while he uses it: again, and nothing else. */
const TAKEN_AWAY =
  /removed meanwhile|it is gone|no such image|Cannot find (?:image|container)|is not in the store|runs of it/

let scene: PullScene
beforeAll(async () => {
  if (!isPossible) return
  scene = await PullScene.start()
  const base = busyboxLayer()
  const image = (name: string) => scene.layout.image([base, dataLayer(name, 400_000)], { config: { Cmd: ['sh'] } })
  scene.layout.finish(tagged(image('a'), 'a'), tagged(image('b'), 'b'))
  for (const name of ['a', 'b']) scene.upload(name, `race/${name}:1`)
}, 60_000)
afterAll(async () => {
  if (isPossible) await scene[Symbol.asyncDispose]()
})

/** A store, and `berth` on it as it is shipped. */
class Race implements Disposable {
  readonly box = new StoreBox()
  readonly unexpected: string[] = []
  readonly #counts = new Map<string, number>()
  readonly #deadline = performance.now() + RACE_MS

  spawn(...args: readonly string[]): Bun.Subprocess<Uint8Array<ArrayBuffer>, 'pipe', 'pipe'> {
    const roots = ['--root', this.box.data, '--run-root', this.box.path('run')]
    return Bun.spawn([join(ROOT, 'dist/berth'), ...roots, ...args], {
      stdin: new Uint8Array(),
      stdout: 'pipe',
      stderr: 'pipe',
    })
  }

  async berth(...args: readonly string[]): Promise<Outcome> {
    return await finish(this.spawn(...args))
  }

  /** A command that others may get in the way of; true when they did not. */
  async try(...args: readonly string[]): Promise<boolean> {
    const { status, stderr } = await this.berth(...args)
    const isDone = status === 0
    const word = `${args[0]} ${isDone}`
    this.#counts.set(word, (this.#counts.get(word) ?? 0) + 1)
    if (!isDone && !TAKEN_AWAY.test(stderr)) this.unexpected.push(`${args.join(' ')}: ${status} ${stderr}`)
    return isDone
  }

  /** Does the same again and again. */
  async lane(work: (round: number) => Promise<unknown>): Promise<void> {
    for (let round = 0; performance.now() < this.#deadline && this.unexpected.length === 0; round++) await work(round)
  }

  countOf(word: string): number {
    return this.#counts.get(word) ?? 0
  }

  [Symbol.dispose](): void {
    this.box[Symbol.dispose]()
  }
}

async function expectWhole({ box }: Race, name: string): Promise<void> {
  expect(await box.ok('image', 'verify')).toBe('All content is as its digests say.\n')
  expect(await box.ok('run', '--rm', '--quiet', name, 'cat', '/etc/../bin/busybox')).not.toBe('')
  await box.ok('system', 'gc')
  expect(await box.ok('system', 'gc', '--dry-run')).toBe('Total reclaimable space: 0B\n')
  const { images, database } = await engineOf(box)
  // All that is on the disk is needed, and all that is needed is there.
  const needed = images.records.list().flatMap(({ digest }) => images.records.contentOf(digest))
  const wanted = needed.map(({ kind, digest }) => {
    const path = digest.replace(':', '/')
    return kind === 'blob' ? `content/blobs/${path}` : `layers/${path}`
  })
  expect(onDisk(box.data)).toEqual([...new Set(wanted)].sort())
  expect(database.sqlite.query('SELECT * FROM lease_item').all()).toEqual([])
}

describe('garbage collection', () => {
  testIf(...NEEDS)(
    'beside pulls, runs, commits and removals takes nothing that anybody needs',
    async () => {
      using race = new Race()
      const [a, b] = ['a', 'b'].map(name => scene.name(`race/${name}:1`))
      if (a === undefined || b === undefined) return
      await Promise.all([
        race.lane(() => race.try('system', 'gc', '--free', '100%')),
        race.lane(async () => (await race.try('pull', '-q', a)) && (await race.try('rmi', '-f', a))),
        race.lane(async () => (await race.try('pull', '-q', b)) && (await race.try('rmi', '--no-prune', '-f', b))),
        race.lane(() => race.try('run', '--rm', '--quiet', a, 'echo', 'ran')),
        race.lane(async round => {
          const [container, image] = [`c${round}`, `example.com/made:${round}`]
          if (!(await race.try('run', '--quiet', '--name', container, b, 'sh', '-c', 'echo x > /made'))) return
          // Nobody takes away what a container was made of, nor an image with a name: from here on all must go well.
          for (const args of [
            ['diff', container],
            ['commit', container, image],
            ['run', '--rm', image, 'cat', '/made'],
            ['rm', container],
            ['rmi', image],
          ]) {
            const { status, stderr } = await race.berth(...args)
            if (status !== 0) race.unexpected.push(`${args.join(' ')}: ${status} ${stderr}`)
          }
        }),
      ])
      expect(race.unexpected).toEqual([])
      for (const word of ['system true', 'pull true', 'run true', 'rmi true'])
        expect(race.countOf(word)).toBeGreaterThan(0)
      await expectWhole(race, a)
    },
    RACE_MS + 40_000,
  )

  testIf(...NEEDS)(
    'that is killed at any moment leaves nothing that the next one does not take',
    async () => {
      using race = new Race()
      const a = scene.name('race/a:1')
      for (let kill = 0; kill < KILLS; kill++) {
        await race.box.ok('pull', '-q', a)
        const { images } = await engineOf(race.box)
        for (const { names } of images.records.list()) for (const name of names) images.records.untag(name)
        const began = performance.now()
        const child = race.spawn('system', 'gc', '--free', '100%')
        // The moments lie all over its life.
        await Promise.race([child.exited, Bun.sleep(began + Math.random() * 250 - performance.now())])
        child.kill('SIGKILL')
        await child.exited
        expect(await race.box.ok('image', 'verify')).toBe('All content is as its digests say.\n')
        if (kill % 2 === 0) continue
        await race.box.ok('system', 'gc', '--free', '100%')
        expect(onDisk(race.box.data)).toEqual([])
      }
      await expectWhole(race, a)
    },
    KILLS * 10_000,
  )

  testIf('root')(
    'removes the least recently used first and no more than it has to, also when the disk is full',
    async () => {
      using race = new Race()
      const { box } = race
      run('mkdir', box.data)
      run('mount', '-t', 'tmpfs', '-o', 'size=24m', 'berth-test', box.data)
      try {
        const layout = box.layout()
        const names = ['third', 'first', 'second'].map(name => `example.com/${name}:1`)
        layout.finish(...names.map(name => tagged(layout.image([dataLayer('file', 2_000_000)]), name)))
        await box.ok('--keep-free', '0', 'load', '-q', '-i', layout.path)
        const { images, database } = await engineOf(box)
        const digests = ['first', 'second', 'third'].map((name, index) => {
          const digest = images.records.untag(`example.com/${name}:1`)
          const time = Date.now() - (10 - index) * 3_600_000
          database.sqlite.query('UPDATE image SET used_ms = ?, pulled_ms = ? WHERE digest = ?').run(time, time, digest)
          return digest
        })
        // What is left is taken by somebody else.
        run('sh', '-c', `cat /dev/zero > ${box.data}/ballast 2>/dev/null || true`)
        const rest = () => digests.filter(digest => images.records.list().some(image => image.digest === digest))
        await box.ok('system', 'gc', '--free', '3m')
        expect(rest()).toEqual(digests.slice(1))
        await box.ok('system', 'gc', '--free', '5m')
        expect(rest()).toEqual(digests.slice(2))
        // The ballast of somebody else takes what is left again.
        run('sh', '-c', `cat /dev/zero >> ${box.data}/ballast 2>/dev/null || true`)
        await box.ok('rmi', digests[2] ?? '')
        expect(images.records.list()).toEqual([])
        run('sh', '-c', `cat /dev/zero >> ${box.data}/ballast 2>/dev/null || true`)
        const failed = await box.berth(['--keep-free', '0', 'load', '-q', '-i', layout.path])
        expect(failed.stderr).toContain('no space')
        expect(failed.stderr.trim().split('\n')).toHaveLength(1)
        expect(onDisk(box.data)).toEqual([])
        expect(database.sqlite.query('SELECT * FROM lease_item').all()).toEqual([])
        expect(await box.ok('system', 'gc', '--dry-run')).toBe('Total reclaimable space: 0B\n')
      } finally {
        run('umount', '-l', box.data)
      }
    },
  )
})

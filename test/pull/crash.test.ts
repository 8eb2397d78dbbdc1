/** Pulls that are killed at random moments, and pulls onto a full disk. */
import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { StateDatabase } from '../../src/engine/state-database.ts'
import { type ImageStore, openImageStore } from '../../src/image/image-store.ts'
import { tagged } from '../image/layout-builder.ts'
import { run } from '../image/tree.ts'
import { ROOT } from '../support/group.ts'
import { requirement, testIf } from '../support/requirement.ts'
import { archive } from '../support/tar-archive.ts'
import { discrepancies, layerOf, noise, PullScene } from './pull-scene.ts'

const pullTest = testIf('root', 'command docker-registry', 'command skopeo')
const isPossible = (['root', 'command docker-registry', 'command skopeo'] as const).every(name => requirement(name).ok)
const ROUNDS = 8
const KILLS_PER_ROUND = 25

let scene: PullScene
beforeAll(async () => {
  if (!isPossible) return
  scene = await PullScene.start()
  const many = archive(
    ...Array.from({ length: 300 }, (_, index) => ({ name: `f${index}`, content: noise(2000, index) })),
  )
  const image = scene.layout.image([many, layerOf('base', 3_000_000), layerOf('one', 700_000)])
  scene.layout.finish(tagged(image, 'one'), tagged(scene.layout.image([layerOf('large', 30_000_000)]), 'large'))
  scene.upload('one', 'k/one:1')
  scene.upload('large', 'k/large:1')
}, 60_000)
afterAll(async () => {
  if (isPossible) await scene[Symbol.asyncDispose]()
})

/** `berth pull` with a data root, as it is shipped. */
function startPull(dataRoot: string, name = 'k/one:1'): Bun.Subprocess<'ignore', 'pipe', 'pipe'> {
  const roots = ['--root', dataRoot, '--run-root', scene.path('run')]
  return Bun.spawn([join(ROOT, 'dist/berth'), ...roots, 'pull', scene.name(name)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

function open(dataRoot: string): Promise<ImageStore> {
  return openImageStore(dataRoot, new StateDatabase(dataRoot).sqlite)
}

async function wholePullMs(dataRoot: string): Promise<number> {
  const began = performance.now()
  expect(await startPull(dataRoot).exited).toBe(0)
  return performance.now() - began
}

/** Waits until the first layer comes. Its output is not closed: a program whose output is closed ends by that. */
async function untilDownloading(child: Bun.Subprocess<'ignore', 'pipe', 'pipe'>): Promise<void> {
  const reader = child.stdout.getReader()
  for (let said = ''; !said.includes('Downloading'); ) {
    const { done, value } = await reader.read()
    if (done) throw new Error(`the pull has ended: ${said}`)
    said += new TextDecoder().decode(value)
  }
}

/** Ends a process by SIGKILL when it has run for so long; whether it was still there. */
async function killAfter(child: Bun.Subprocess, ms: number): Promise<boolean> {
  const timer = setTimeout(() => child.kill('SIGKILL'), ms)
  await child.exited
  clearTimeout(timer)
  return child.signalCode === 'SIGKILL'
}

describe(`berth pull that is killed at ${ROUNDS * KILLS_PER_ROUND} random moments leaves nothing that the next one does not use:`, () => {
  for (let round = 1; round <= ROUNDS; round++)
    pullTest(`round ${round}`, async () => {
      let fresh = 0
      const next = (): string => scene.path(`killed${round}-${fresh++}`)
      let dataRoot = next()
      // The fastest that was seen, so that most of the kills come before the end, however busy the machine was at first.
      let wholeMs = await wholePullMs(dataRoot)
      dataRoot = next()
      for (let kills = 0; kills < KILLS_PER_ROUND; ) {
        const began = performance.now()
        const wasKilled = await killAfter(startPull(dataRoot), Math.random() * wholeMs)
        if (wasKilled) kills++
        else wholeMs = Math.min(wholeMs, performance.now() - began)
        const store = await open(dataRoot)
        const images = store.records.list()
        // Complete or not there, and nothing in between.
        expect(images.length).toBeLessThanOrEqual(1)
        const [image] = images
        if (image === undefined) continue
        for (const { digest, diffId } of image.manifests[0]?.layers ?? []) {
          expect(await store.content.find(digest)).not.toBeNull()
          expect(await store.layers.find(diffId)).not.toBeNull()
        }
        rmSync(dataRoot, { recursive: true })
        dataRoot = next()
      }
      const last = startPull(dataRoot)
      const said = await new Response(last.stderr).text()
      expect([await last.exited, said]).toEqual([0, ''])
      expect(await discrepancies(await open(dataRoot))).toEqual([])
    })
})

describe('berth pull in two processes at once', () => {
  pullTest('transfers each blob once, and both succeed', async () => {
    const dataRoot = scene.path('twice')
    scene.proxy.seen.length = 0
    const children = [startPull(dataRoot), startPull(dataRoot)]
    const ends = children.map(async child => [await new Response(child.stderr).text(), await child.exited])
    expect(await Promise.all(ends)).toEqual([
      ['', 0],
      ['', 0],
    ])
    expect(scene.proxy.blobs('GET')).toHaveLength(4)
    expect(await discrepancies(await open(dataRoot))).toEqual([])
  })

  pullTest('goes on in one when the other is killed', async () => {
    const dataRoot = scene.path('survivor')
    const children = [startPull(dataRoot), startPull(dataRoot)]
    // Either may be the one that has come first.
    const first = await Promise.any(children.map(child => untilDownloading(child).then(() => child)))
    first.kill('SIGKILL')
    const second = children.find(child => child !== first)
    expect(await second?.exited).toBe(0)
    expect(await discrepancies(await open(dataRoot))).toEqual([])
  })
})

describe('berth pull that gets a signal', () => {
  pullTest('ends with its status, shows nothing, and goes on the next time', async () => {
    const dataRoot = scene.path('signalled')
    const child = startPull(dataRoot)
    await untilDownloading(child)
    child.kill('SIGINT')
    expect(await child.exited).toBe(130)
    expect((await open(dataRoot)).records.list()).toEqual([])
    expect(await startPull(dataRoot).exited).toBe(0)
    expect(await discrepancies(await open(dataRoot))).toEqual([])
  })
})

describe('berth pull onto a full disk', () => {
  for (const megabytes of [1, 4, 16, 40])
    pullTest(`of ${megabytes} MB says so once, and leaves nothing`, async () => {
      const dataRoot = scene.path(`full${megabytes}`)
      mkdirSync(dataRoot)
      run('mount', '-t', 'tmpfs', '-o', `size=${megabytes}m`, 'berth-test', dataRoot)
      try {
        const child = startPull(dataRoot, 'k/large:1')
        const said = await new Response(child.stderr).text()
        expect(await child.exited).toBe(125)
        expect(said.trim()).not.toContain('\n')
        expect(said).toContain('no space is left')
        const store = await open(dataRoot)
        expect(store.records.list()).toEqual([])
        expect(await discrepancies(store)).toEqual([])
        expect(await Array.fromAsync(store.content.list())).toEqual([])
        expect(
          readdirSync(join(dataRoot, 'layers')).flatMap(each => readdirSync(join(dataRoot, 'layers', each))),
        ).toEqual([])
      } finally {
        run('umount', '-l', dataRoot)
      }
    })
})

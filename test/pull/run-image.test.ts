/** `berth run` of images by name and id, and what `berth pull` and `berth push` print. */
import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { StateDatabase } from '../../src/engine/state-database.ts'
import { imageId } from '../../src/image/image-record.ts'
import { ImageRecords } from '../../src/image/image-records.ts'
import { type EngineBox, engineTest } from '../engine/engine-box.ts'
import { tagged } from '../image/layout-builder.ts'
import { type RequirementName, requirement } from '../support/requirement.ts'
import { archive } from '../support/tar-archive.ts'
import { layerOf, PullScene } from './pull-scene.ts'

const NEEDS: readonly RequirementName[] = ['command docker-registry', 'command skopeo', 'command busybox']
const isPossible = (['root', ...NEEDS] as const).every(name => requirement(name).ok)

let scene: PullScene
beforeAll(async () => {
  if (!isPossible) return
  // Bun opens them again at their first use, which is no leak of a test.
  for (const stream of [process.stdout, process.stderr]) void stream.isTTY
  scene = await PullScene.start()
  const busybox = archive(
    ...['bin/', 'dev/', 'proc/', 'sys/', 'tmp/', 'etc/'].map(name => ({ name, type: '5', mode: 0o755 })),
    { name: 'bin/busybox', mode: 0o755, content: readFileSync(Bun.which('busybox') ?? '/bin/busybox') },
    ...['sh', 'cat', 'echo', 'true', 'env'].map(each => ({ name: `bin/${each}`, type: '2', linkname: 'busybox' })),
  )
  const config = { Env: ['PATH=/bin', 'GREETING=ahoy'], Cmd: ['sh', '-c', 'echo $GREETING'] }
  const foreign = { platform: { architecture: 's390x' } }
  scene.layout.finish(
    tagged(scene.layout.image([busybox, layerOf('data')], { config }), 'one'),
    tagged(scene.layout.image([busybox], { config: { ...config, Env: ['PATH=/bin', 'GREETING=moved'] } }), 'two'),
    tagged(scene.layout.image([busybox], foreign), 'foreign'),
  )
  scene.upload('one', 'r/one:latest')
  scene.upload('foreign', 'r/foreign:1')
}, 60_000)
afterAll(async () => {
  if (isPossible) await scene[Symbol.asyncDispose]()
})

const opened: StateDatabase[] = []

/** What the engine of a box knows; closed with the test. */
function recordsOf(box: EngineBox): ImageRecords {
  const database = new StateDatabase(box.data)
  opened.push(database)
  return new ImageRecords(database.sqlite)
}

function runTest(name: string, run: (box: EngineBox) => Promise<unknown>): void {
  const runAndClose = async (box: EngineBox): Promise<void> => {
    try {
      await run(box)
    } finally {
      for (const database of opened.splice(0)) database.sqlite.close()
    }
  }
  engineTest(name, runAndClose, NEEDS)
}

describe('berth run IMAGE', () => {
  runTest('pulls what is missing, runs it, and asks nobody the second time', async box => {
    const name = scene.name('r/one')
    const first = await box.run(name)
    expect([first.status, first.stdout]).toEqual([0, 'ahoy\n'])
    expect(first.stderr).toContain(`Unable to find image '${name}:latest' locally`)
    scene.proxy.seen.length = 0
    expect(await box.run(name)).toMatchObject({ status: 0, stdout: 'ahoy\n', stderr: '' })
    const [image] = recordsOf(box).list()
    expect(image?.names).toEqual([`${name}:latest`])
    if (image === undefined) return
    const id = imageId(image)
    for (const text of [id, id.slice(7, 19), `${name}@${image.digest}`])
      expect(await box.run(text, 'echo', 'x')).toMatchObject({ status: 0, stdout: 'x\n', stderr: '' })
    expect(scene.proxy.seen).toEqual([])
  })

  runTest('--quiet shows no pull, --pull=never pulls nothing, --pull=always asks', async box => {
    const name = scene.name('r/one')
    const never = await box.run('--pull=never', name)
    expect([never.status, never.stderr]).toEqual([
      125,
      `berth: Cannot run image "${name}": it is not in the store, and --pull=never\n`,
    ])
    expect(await box.run('-q', name)).toMatchObject({ stdout: 'ahoy\n', stderr: '' })
    expect(await box.run('--pull', 'never', name)).toMatchObject({ stdout: 'ahoy\n', stderr: '' })
    scene.upload('two', 'r/one:latest')
    try {
      expect((await box.run(name)).stdout).toBe('ahoy\n')
      expect((await box.run('--pull=always', name)).stdout).toBe('moved\n')
    } finally {
      scene.upload('one', 'r/one:latest')
    }
  })

  runTest(
    'keeps its layers once they have rested, and unpacks again those that a loss of power may have cut off',
    async box => {
      const name = scene.name('r/one')
      const hour = 3600
      await box.run('-q', name)
      const paths = [...new Bun.Glob('layers/sha256/*/layer.json').scanSync({ cwd: box.data, absolute: true })]
      const boots = (): unknown[] =>
        paths.map(path => (JSON.parse(readFileSync(path, 'utf8')) as { bootId?: string }).bootId)
      expect(boots()).toEqual([expect.any(String), expect.any(String)])
      for (const path of paths) utimesSync(path, Date.now() / 1000 - hour, Date.now() / 1000 - hour)
      expect((await box.run(name)).stdout).toBe('ahoy\n')
      expect(boots()).toEqual([undefined, undefined])
      for (const path of paths) {
        writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), bootId: 'of-another-boot' }))
        rmSync(join(path, '../root/bin/busybox'), { force: true })
      }
      scene.proxy.seen.length = 0
      expect(await box.run(name)).toMatchObject({ stdout: 'ahoy\n', stderr: '' })
      expect(boots()).toEqual([expect.any(String), expect.any(String)])
      expect(scene.proxy.seen).toEqual([])
    },
  )

  runTest('of a foreign architecture without an interpreter says how to get one', async box => {
    const { status, stderr } = await box.run('-q', '--platform', 'linux/s390x', scene.name('r/foreign:1'), 'true')
    // Where somebody has registered qemu, it runs instead, or says that the program is no s390x program.
    if (stderr.includes('binfmt_misc')) expect(stderr).toContain('qemu-user-static')
    expect(status).not.toBe(0)
    const other = await box.run('-q', '--platform', 'linux/arm64', scene.name('r/one'), 'true')
    expect([other.status, other.stderr.includes('expected linux/arm64')]).toEqual([125, true])
  })

  runTest('keeps what a container uses when its image goes, until the container does', async box => {
    const name = scene.name('r/one')
    const running = await box.start(['--name', 'keeper', '-q', name, 'sh', '-c', 'echo up; exec sleep 60'], 'up')
    const records = recordsOf(box)
    const image = records.named(`${name}:latest`)
    if (image === null) throw new Error('no image')
    const layers = image.manifests[0]?.layers.map(each => each.diffId) ?? []
    expect(records.containersOf(image.digest)).toHaveLength(1)
    records.remove(image.digest)
    expect([...records.needed('layer')].toSorted()).toEqual(layers.toSorted())
    expect(records.needed('blob').size).toBe(4)
    expect((await box.berth(['rm', '-f', 'keeper'])).status).toBe(0)
    await running.exited
    expect([records.needed('layer').size, records.needed('blob').size]).toEqual([0, 0])
  })

  runTest('unpacks a layer again that is not there any more', async box => {
    const name = scene.name('r/one')
    await box.run('-q', name)
    Bun.spawnSync(['sh', '-c', `rm -rf ${box.data}/layers/sha256/*`])
    scene.proxy.seen.length = 0
    expect(await box.run(name)).toMatchObject({ stdout: 'ahoy\n', stderr: '' })
    expect(scene.proxy.seen).toEqual([])
  })

  runTest('that is not to be had fails without a container', async box => {
    const { status, stderr } = await box.run('-q', scene.name('r/nosuch'), 'true')
    expect([status, stderr.split('\n').length]).toEqual([125, 2])
    expect((await box.berth(['ps', '-aq'])).stdout).toBe('')
  })
})

describe('berth pull and berth push', () => {
  runTest("print docker's lines", async box => {
    const name = scene.name('r/one')
    const digest = await scene.digestOf('r/one:latest')
    const pulled = (await box.berth(['image', 'pull', name])).stdout.split('\n')
    expect(pulled.slice(0, 2)).toEqual(['Using default tag: latest', `latest: Pulling from ${name}`])
    expect(pulled.slice(-4)).toEqual([
      `Digest: ${digest}`,
      `Status: Downloaded newer image for ${name}:latest`,
      `${name}:latest`,
      '',
    ])
    expect((await box.berth(['pull', `${name}:latest`])).stdout).toContain(
      `Status: Image is up to date for ${name}:latest`,
    )
    expect((await box.berth(['pull', '-q', name])).stdout).toBe(`${name}:latest\n`)
    const pushed = (await box.berth(['push', name])).stdout.split('\n')
    expect(pushed[0]).toBe(`The push refers to repository [${name}]`)
    expect(pushed.at(-2)).toMatch(new RegExp(`^latest: digest: ${digest} size: \\d+$`))
    expect(pushed.filter(line => line.endsWith(': Layer already exists'))).toHaveLength(2)
  })

  runTest('--all-tags takes every tag of a repository, both ways', async box => {
    for (const tag of ['1', '2']) scene.upload('one', `r/many:${tag}`)
    const name = scene.name('r/many')
    const { stdout } = await box.berth(['pull', '-aq', name])
    expect(stdout.trim().split('\n').toSorted()).toEqual([`${name}:1`, `${name}:2`])
    const records = recordsOf(box)
    const digest = records.named(`${name}:1`)?.digest
    if (digest === undefined) throw new Error('no image')
    for (const tag of ['a', 'b']) records.tag(digest, `${scene.name('r/copies')}:${tag}`)
    expect((await box.berth(['push', '--all-tags', '-q', scene.name('r/copies')])).status).toBe(0)
    for (const tag of ['a', 'b']) expect(await scene.digestOf(`r/copies:${tag}`)).toBe(digest as string)
    expect((await box.berth(['pull', '-a', `${name}:1`])).stderr).toContain('expected a name without tag or digest')
  })

  runTest('refuse what is no reference', async box => {
    for (const [args, said] of [
      [['pull'], 'expected one name'],
      [['pull', 'Upper'], 'lower-case'],
      [['push', 'a', 'b'], 'expected one name'],
      [['push', scene.name('r/nosuch')], 'no image in the store'],
      [['image', 'nosuch'], 'image has no command of that name'],
    ] as const)
      expect((await box.berth([...args])).stderr).toContain(said)
    expect((await box.berth(['image', '--help'])).stdout).toContain('berth image COMMAND')
  })
})

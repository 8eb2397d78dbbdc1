/** SIGKILL of the process that creates a container, at every step of its launcher: what is left, if anything, goes with the next command. */

import { describe, expect } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readBundle } from '../../src/runtime/bundle.ts'
import { createContainer, prepareContainer } from '../../src/runtime/create.ts'
import { deleteContainer } from '../../src/runtime/delete.ts'
import { testIf } from '../support/requirement.ts'
import type { Death } from './create-and-die.ts'
import { type Place, placesOf } from './inject.ts'
import { createOptions, makeBundle } from './scenes.ts'
import { setUp } from './set-up.ts'

const PROGRAM = join(import.meta.dir, 'create-and-die.ts')
const SIGKILL = 9
const SIGSTOP = 19
const SCENE = 'everything'
const suite = setUp('creator')

const test = testIf('root')

async function launcherPlaces(): Promise<Place[]> {
  const id = 'unused'
  const bundle = makeBundle(suite.base, SCENE, id, null)
  const options = createOptions(suite.mark, SCENE, bundle)
  const { plan } = await prepareContainer(id, readBundle(bundle), join(suite.mark.stateRoot, id), options)
  return [...placesOf(plan, 'host'), ...placesOf(plan, 'parent')]
}

/** Lets a creator die at a place. A stopped one is killed when its launcher has had time to go on without it. */
async function die(id: string, place: Place | null, signal: number): Promise<void> {
  const death: Death = {
    base: suite.base,
    scene: SCENE,
    id,
    bundle: makeBundle(suite.base, SCENE, id, null),
    place,
    signal,
  }
  const child = Bun.spawn([process.execPath, PROGRAM, JSON.stringify(death)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (signal === SIGSTOP) {
    await until(() => readFileSync(`/proc/${child.pid}/stat`, 'utf8').includes(') T '), 'the creator is not stopped')
    await Bun.sleep(20)
    child.kill('SIGKILL')
  }
  await child.exited
  expect(child.signalCode).toBe('SIGKILL')
}

async function until(isSo: () => boolean, otherwise: string): Promise<void> {
  const deadline = performance.now() + 5000
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(otherwise)
    await Bun.sleep(1)
  }
}

/** What a dead creator left, if anything, is gone after `create` of the same id and `delete`, or `delete --force` alone. */
async function expectRecoverable(id: string, by: 'create' | 'delete', what: string): Promise<void> {
  const bundle = makeBundle(suite.base, SCENE, id, null)
  const options = createOptions(suite.mark, SCENE, bundle)
  const conflict = (error: unknown) => expect(String(error), what).toMatch(/exists/)
  if (by === 'create') await createContainer(id, options).catch(conflict)
  await deleteContainer(id, { ...options, force: true })
  await suite.mark.expectNothing(id, what)
}

describe('a creator that is killed', () => {
  for (const by of ['create', 'delete'] as const)
    test(`at any step of its launcher leaves nothing that ${by} does not remove`, async () => {
      const places = [null, ...(await launcherPlaces())].filter((_, at) => at % 2 === (by === 'create' ? 0 : 1))
      suite.mark.resetOwnFiles()
      for (const place of places) {
        const id = suite.nextId()
        await die(id, place, SIGKILL)
        await expectRecoverable(id, by, `${place?.stage} ${place?.index}`)
      }
    }, 60_000)

  test('while stopped, with records unread, is noticed by its launcher', async () => {
    const places = (await launcherPlaces()).filter((_, at) => at % 6 === 0)
    suite.mark.resetOwnFiles()
    for (const place of places) {
      const id = suite.nextId()
      await die(id, place, SIGSTOP)
      await until(() => suite.mark.processes().length === 0, `${place.stage} ${place.index}: a process is left`)
      expect(existsSync(join(suite.mark.stateRoot, id)), `${place.stage} ${place.index}`).toBe(false)
      await suite.mark.expectNothing(id, `${place.stage} ${place.index}`)
    }
  }, 60_000)
})

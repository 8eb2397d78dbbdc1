/** A failure before every step of every stage of containers that have every kind of step: an error that names it, and nothing left. */

import { describe, expect } from 'bun:test'
import { join } from 'node:path'
import type { OpName } from '../../src/plan/ops.ts'
import { type Plan, STAGES } from '../../src/plan/step.ts'
import { StepError } from '../../src/plan/step-error.ts'
import { readBundle } from '../../src/runtime/bundle.ts'
import { type CreatedContainer, createContainer, prepareContainer } from '../../src/runtime/create.ts'
import { deleteContainer } from '../../src/runtime/delete.ts'
import { startContainer } from '../../src/runtime/start.ts'
import { containerState } from '../../src/runtime/state.ts'
import { requirement, testIf } from '../support/requirement.ts'
import { composableOps } from './composable-ops.ts'
import {
  blockAt,
  failAt,
  firstPlaceAfterStart,
  firstPlaceWithoutLauncher,
  mayBeSkipped,
  NOWHERE,
  type Place,
  placesOf,
  signalAt,
} from './inject.ts'
import { createOptions, makeBundle, SCENES, type SceneName } from './scenes.ts'
import { setUp } from './set-up.ts'

const SIGKILL = 9
const TIMEOUT_MS = 60_000
const suite = setUp('fault')
const hostLink = `bf${process.pid}`

const test = testIf('root', 'userns', 'overlay', 'idmapped mounts')

function netDeviceOf(scene: SceneName): string | null {
  return scene === 'shim' && requirement('command ip').ok ? hostLink : null
}

async function planOf(scene: SceneName, netDevice = netDeviceOf(scene)): Promise<Plan> {
  const id = suite.nextId()
  const bundle = makeBundle(suite.base, scene, id, netDevice)
  const prepared = await prepareContainer(
    id,
    readBundle(bundle),
    join(suite.mark.stateRoot, id),
    createOptions(suite.mark, scene, bundle),
  )
  return prepared.plan
}

/** The error of `createContainer`, or the container when there is none. */
async function create(
  scene: SceneName,
  id: string,
  onPlan: (plan: Plan) => Plan,
): Promise<{ readonly error: unknown } | { readonly created: CreatedContainer }> {
  const bundle = makeBundle(suite.base, scene, id, netDeviceOf(scene))
  try {
    return { created: await createContainer(id, { ...createOptions(suite.mark, scene, bundle), onPlan }) }
  } catch (error) {
    return { error }
  }
}

async function remove(id: string): Promise<void> {
  await deleteContainer(id, { root: suite.mark.stateRoot, systemdCgroup: false, warn: () => {}, force: true })
}

function nameOf(scene: SceneName, { stage, index }: Place): string {
  return `scene ${scene}, step ${index} of stage ${stage}`
}

/** The host's interface for scene `shim`: one of a pair that this test makes. */
function withLink(scene: SceneName, run: () => Promise<void>): () => Promise<void> {
  if (netDeviceOf(scene) === null) return run
  return async () => {
    expect(
      Bun.spawnSync(['ip', 'link', 'add', hostLink, 'type', 'veth', 'peer', 'name', `${hostLink}p`]).exitCode,
    ).toBe(0)
    try {
      await run()
    } finally {
      Bun.spawnSync(['ip', 'link', 'del', hostLink])
    }
  }
}

function expectLinkBack(scene: SceneName, what: string): void {
  if (netDeviceOf(scene) === null) return
  const found = Bun.spawnSync(['ip', '-oneline', 'link', 'show', hostLink])
  if (found.exitCode !== 0) throw new Error(`${what}: the host's interface is not back`)
}

/** After `start` the step fails in the container; `start` reports it and leaves a stopped container. */
async function expectStartFails(id: string, index: number, what: string): Promise<void> {
  const options = { root: suite.mark.stateRoot, systemdCgroup: false, warn: () => {} }
  await expect(startContainer(id, options), what).rejects.toThrow(new RegExp(`step ${index} of stage exec: .*ENOENT`))
  await expectStopped(id, what)
  await deleteContainer(id, { ...options, force: false })
}

/** The process ends a moment after its last word. Nobody hears of a failure right before the wait, where no plan has a step. */
async function expectStopped(id: string, what: string): Promise<void> {
  const deadline = performance.now() + 5000
  const status = () => containerState(id, { root: suite.mark.stateRoot, systemdCgroup: false, warn: () => {} }).status
  while (status() !== 'stopped') {
    if (performance.now() > deadline) throw new Error(`${what}: the container is ${status()}, expected stopped`)
    await Bun.sleep(1)
  }
}

/** The places of a scene's plan: all of the first scene, of the others those before steps that no earlier scene has. */
async function placesOfScene(scene: SceneName): Promise<{ readonly plan: Plan; readonly places: readonly Place[] }> {
  const plan = await planOf(scene)
  const known = new Set<string>()
  for (const earlier of SCENES.slice(0, SCENES.indexOf(scene))) {
    const other = await planOf(earlier, null)
    for (const stage of STAGES) for (const each of other[stage]) known.add(`${stage} ${each.op} ${each.why}`)
  }
  const isNew = ({ stage, index }: Place) => {
    const { op, why } = plan[stage][index] ?? {}
    return !known.has(`${stage} ${op} ${why}`)
  }
  return { plan, places: STAGES.flatMap(stage => placesOf(plan, stage)).filter(isNew) }
}

async function failEverywhere(scene: SceneName): Promise<void> {
  const { plan, places } = await placesOfScene(scene)
  suite.mark.resetOwnFiles()
  for (const place of places) {
    const id = suite.nextId()
    const what = nameOf(scene, place)
    const outcome = await create(scene, id, each => failAt(each, place))
    await using _ = { [Symbol.asyncDispose]: () => remove(id) }
    if ('error' in outcome) expectNamed(outcome.error, place, what)
    else if (place.stage === 'exec' && place.index >= firstPlaceAfterStart(plan))
      await expectStartFails(id, place.index, what)
    else if (plan[place.stage][place.index]?.op === 'wait_start') {
      await expectStopped(id, what)
      await remove(id)
    } else {
      expect(mayBeSkipped(plan, place), `${what}: the failure was not noticed`).toBe(true)
      await remove(id)
    }
    await suite.mark.expectNothing(id, what)
    expectLinkBack(scene, what)
  }
}

function expectNamed(error: unknown, place: Place, what: string): void {
  if (!(error instanceof StepError)) throw new Error(`${what}: not a StepError: ${error}`, { cause: error })
  const expected: Place = place.stage === 'undo' ? { stage: 'exec', index: 0 } : place
  expect({ stage: error.stage, index: error.step, errno: error.errno }, what).toEqual({ ...expected, errno: 'ENOENT' })
  expect(error.message, what).toContain(`step ${expected.index} of stage ${expected.stage}: open("${NOWHERE}"`)
}

async function killEverywhere(scene: SceneName): Promise<void> {
  const { plan, places } = await placesOfScene(scene)
  suite.mark.resetOwnFiles()
  for (const place of places) {
    const { stage, index } = place
    if (stage === 'host' || stage === 'parent')
      await expectKilled(scene, plan, place, each => signalAt(each, place, 0, SIGKILL))
    else if (stage === 'child' || (stage === 'exec' && index < firstPlaceWithoutLauncher(plan)))
      await expectKilled(scene, plan, place, each => blockAt(each, place))
  }
}

async function expectKilled(scene: SceneName, plan: Plan, place: Place, onPlan: (plan: Plan) => Plan): Promise<void> {
  const id = suite.nextId()
  const what = nameOf(scene, place)
  let isOver = false
  const creating = create(scene, id, onPlan).finally(() => {
    isOver = true
  })
  // The launcher ends itself in its own stages; in the child's it is ended from here, when the child has come to the place.
  if (place.stage === 'child' || place.stage === 'exec')
    if (await suite.mark.blocked(() => isOver)) process.kill(suite.mark.launcher() ?? Number.NaN, 'SIGKILL')
  const outcome = await creating
  await using _ = { [Symbol.asyncDispose]: () => remove(id) }
  if ('error' in outcome) expect(outcome.error, what).toMatchObject({ category: 'cancelled' })
  else {
    expect(mayBeSkipped(plan, place), `${what}: the launcher was not needed`).toBe(true)
    await remove(id)
  }
  suite.mark.drain()
  await suite.mark.expectNothing(id, what)
  expectLinkBack(scene, what)
}

describe('the plans of the scenes', () => {
  test(
    'have every operation that a container can have on this machine',
    withLink('shim', async () => {
      const plans = await Promise.all(SCENES.map(scene => planOf(scene)))
      const covered = new Set(plans.flatMap(plan => STAGES.flatMap(stage => plan[stage].map(({ op }): OpName => op))))
      const link = requirement('command ip').ok
      expect([...covered].sort()).toEqual(composableOps({ cgroup2: requirement('cgroup v2').ok, link }))
    }),
  )
})

describe('createContainer() with a failing step', () => {
  for (const scene of SCENES)
    test(
      `before each step of scene ${scene} names it and leaves nothing`,
      withLink(scene, () => failEverywhere(scene)),
      TIMEOUT_MS,
    )
})

describe('createContainer() with a launcher that is killed', () => {
  for (const scene of SCENES)
    test(
      `before each step of scene ${scene} is cancelled and leaves nothing`,
      withLink(scene, () => killEverywhere(scene)),
      TIMEOUT_MS,
    )
})

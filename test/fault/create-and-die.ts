/** Creates a container and is killed, or stopped, by its own launcher at a place of the plan. Started by creator.test.ts. */

import { createContainer } from '../../src/runtime/create.ts'
import { type Place, signalAt } from './inject.ts'
import { Mark } from './leftovers.ts'
import { createOptions, type SceneName } from './scenes.ts'

/** Where and how: `null` is after the claim and before the launcher has its plan. */
export interface Death {
  readonly base: string
  readonly scene: SceneName
  readonly id: string
  readonly bundle: string
  readonly place: Place | null
  readonly signal: number
}

const { base, scene, id, bundle, place, signal } = JSON.parse(process.argv[2] ?? '') as Death
using mark = new Mark(base)
await createContainer(id, {
  ...createOptions(mark, scene, bundle),
  onPlan: plan => {
    if (place !== null) return signalAt(plan, place, process.pid, signal)
    process.kill(process.pid, signal)
    return plan
  },
})

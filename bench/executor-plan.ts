import { chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { encodePlan } from '../src/plan/encode.ts'
import { printPlan } from '../src/plan/print.ts'
import type { Plan } from '../src/plan/step.ts'
import { composeContainer } from '../src/runtime/compose-container.ts'
import { readHostFacts } from '../src/runtime/host-facts.ts'
import { PlanBuilder } from '../src/runtime/plan-builder.ts'
import { seccompFilter } from '../src/runtime/seccomp-filter.ts'
import { ID_BASE, typicalSpec } from './typical-spec.ts'

/**
 * Prepares `DIR` for bench/bare: `frame` (the plan of a typical container as berth-init reads it), `seccomp` (the same filter's
 * program), `upper` and `work` of its overlay. The layer is `DIR/rootfs`.
 * Called as `bun bench/executor-plan.ts DIR [--print]`.
 */
function prepare(directory: string): Plan {
  const spec = typicalSpec(['/bin/true'])
  const seccomp = seccompFilter({ id: 'bench', spec, bundle: directory })
  if (seccomp === null) throw new Error('the typical container has a seccomp filter')
  for (const name of ['upper', 'work']) {
    mkdirSync(join(directory, name), { recursive: true })
    chownSync(join(directory, name), ID_BASE, ID_BASE)
  }
  const facts = readHostFacts(spec, directory)
  const location = { manager: 'cgroupfs', directories: [] } as const
  const plan = composeContainer(
    new PlanBuilder(),
    {
      id: 'bench',
      spec,
      bundle: directory,
      stateDirectory: directory,
      root: {
        kind: 'overlay',
        lowers: [join(directory, 'rootfs')],
        upper: join(directory, 'upper'),
        work: join(directory, 'work'),
        veil: null,
      },
      facts,
      cgroup: {
        location,
        host: [],
        parent: [],
        child: [],
        undo: [],
        cloneInto: null,
        unshareInChild: false,
        viaSystemd: false,
      },
      cgroupLocation: location,
      netDevices: [],
      stdio: { pipes: [false, false, false], consoleSocket: null, preservedFds: 0 },
      start: 'now',
      ending: { kind: 'wait' },
      pivot: true,
      newKeyring: true,
    },
    seccomp,
  )
  writeFileSync(join(directory, 'seccomp'), seccomp.program)
  // Nobody is there to answer questions, and there is no state directory whose removal a failure should cause.
  return { ...plan, slotCount: plan.slotCount, parent: plan.parent.filter(({ op }) => op !== 'ask'), undo: [] }
}

const [directory, option] = process.argv.slice(2)
if (directory === undefined) throw new Error('usage: executor-plan.ts DIR [--print]')
const plan = prepare(directory)
writeFileSync(join(directory, 'frame'), encodePlan(plan))
if (option === '--print') console.log(printPlan(plan))

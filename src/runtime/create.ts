import { fstatSync, writeFileSync } from 'node:fs'
import { launch, type Launched, type LaunchStdio } from '../host/launcher.ts'
import { processIdentity } from '../host/process-identity.ts'
import { BerthError } from '../lib/error.ts'
import { parseContainerId } from '../oci/container-id.ts'
import type { Plan } from '../plan/step.ts'
import { type Bundle, readBundle } from './bundle.ts'
import { type CgroupOwner, makeCgroup } from './container-cgroup.ts'
import type { Ending, RootSource } from './container-input.ts'
import { composeContainer } from './compose-container.ts'
import { readHostFacts } from './host-facts.ts'
import { writeIdMaps } from './id-maps.ts'
import { ASK_ID_MAPS, ASK_SCOPE } from './compose-namespaces.ts'
import type { RuntimeOptions } from './runtime-options.ts'
import { seccompFilter } from './seccomp-filter.ts'
import { type ContainerRecord, StateDirectory } from './state-directory.ts'
import { undoPlan } from './undo.ts'

/** How to create a container. */
export interface CreateOptions extends RuntimeOptions {
  readonly bundle: string
  readonly consoleSocket: string | null
  readonly pidFile: string | null
  readonly preservedFds: number
  readonly pivot: boolean
  readonly newKeyring: boolean
  readonly start: 'on request' | 'now'
  readonly ending: Ending
  readonly stdio: readonly [LaunchStdio, LaunchStdio, LaunchStdio]
  /** In the place of the config's `root.path`: how `berth run` mounts an image. */
  readonly root?: RootSource
  /** Sees the plan before it runs and may change it: how tests inject faults. */
  readonly onPlan?: (plan: Plan) => Plan
}

/** A container that was created. */
export interface CreatedContainer extends Launched {
  readonly directory: StateDirectory
  readonly record: ContainerRecord
}

/**
 * The `create` of the runtime-spec: reads the bundle, composes the plan, has it executed, and keeps the record.
 * When it throws, nothing is left: no process, mount, cgroup, namespace or file.
 * @throws {BerthError} conflict: the id is taken; invalidArgument: the config; StepError: a kernel call failed
 */
export async function createContainer(id: string, options: CreateOptions): Promise<CreatedContainer> {
  parseContainerId(id)
  const bundle = readBundle(options.bundle)
  for (const warning of bundle.warnings) options.warn(warning)
  const directory = new StateDirectory(options.root_, id)
  directory.claim(bundle.configText)
  await using undo = new AsyncDisposableStack()
  undo.defer(() => directory.remove())
  const prepared = prepare(id, bundle, directory, options)
  const plan = options.onPlan?.(prepared.plan) ?? prepared.plan
  undo.defer(() => prepared.cgroup.discard())
  const created = await run(plan, prepared, options)
  undo.move()
  return created
}

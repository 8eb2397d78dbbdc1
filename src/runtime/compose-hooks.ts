import type { Hook, HookKind } from '../oci/runtime-spec.ts'
import { stateTemplate } from '../oci/runtime-state.ts'
import { type Step, step } from '../plan/step.ts'
import type { ContainerInput } from './container-input.ts'
import type { PlanBuilder } from './plan-builder.ts'

const MS_PER_SECOND = 1000
/** The steps of all hooks of one kind, in the config's order. */
export function hookSteps(input: Pick<ContainerInput, 'id' | 'spec' | 'bundle' | 'facts'>, kind: HookKind): Step[] {
  const { ociVersion, annotations } = input.spec
  const state = stateTemplate({
    ociVersion,
    id: input.id,
    status: kind === 'startContainer' ? 'created' : 'creating',
    bundle: input.bundle,
    ...(annotations && { annotations }),
  })
  return (input.spec.hooks?.[kind] ?? []).map(hook =>
    step('hook', { ...hookCall(hook, input.facts.environment), state }, `run a ${kind} hook`),
  )
}

function hookCall(
  hook: Hook,
  environment: readonly string[],
): { path: string; args: readonly string[]; env: readonly string[]; timeoutMs: number } {
  return {
    path: hook.path,
    args: hook.args === undefined || hook.args.length === 0 ? [hook.path] : hook.args,
    env: hook.env ?? environment,
    timeoutMs: (hook.timeout ?? 0) * MS_PER_SECOND,
  }
}

/** Hooks of the runtime's namespace, between the mounts and pivot_root, while the child waits; then those of the container's. */
export function composeCreateHooks(builder: PlanBuilder, input: ContainerInput): void {
  const inRuntime = [...hookSteps(input, 'prestart'), ...hookSteps(input, 'createRuntime')]
  if (inRuntime.length > 0) {
    const ready = builder.tag()
    const done = builder.tag()
    builder.child.push(step('post', { tag: ready }, 'tell the launcher that the mounts are there'))
    builder.parent.push(step('await', { tag: ready }, "wait for the container's mounts"), ...inRuntime)
    builder.parent.push(step('post', { tag: done }, 'tell the child that the hooks have run'))
    builder.child.push(step('await', { tag: done }, 'wait for the hooks of the runtime namespace'))
  }
  builder.child.push(...hookSteps(input, 'createContainer'))
}

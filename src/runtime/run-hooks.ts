import { BerthError, messageOf } from '../lib/error.ts'
import type { Hook } from '../oci/runtime-spec.ts'
import type { RuntimeState } from '../oci/runtime-state.ts'
import type { FoundContainer } from './container-state.ts'
import { stateDocument } from './state.ts'

const MS_PER_SECOND = 1000
const SIGKILL = 9
/** How much of a hook's output is kept for the message. */
const OUTPUT_LIMIT = 400

/**
 * Runs the hooks of a container whose program has been started, up to the first that fails. The other kinds than this and poststop
 * are steps of the plan. Source: runtime-spec › POSIX-platform Hooks.
 * @throws {BerthError} internal: a hook failed
 */
export async function runPoststartHooks(found: FoundContainer): Promise<void> {
  for (const hook of found.directory.spec().hooks?.poststart ?? []) {
    const failure = await runHook(hook, stateDocument({ ...found, status: 'running' }))
    if (failure !== null)
      throw new BerthError(
        'internal',
        `Cannot start container "${found.record.id}": poststart hook "${hook.path}": ${failure}`,
      )
  }
}

/** Runs the hooks of a container that is gone, or whose creation failed, all of them: one that fails is a warning. */
export async function runPoststopHooks(
  hooks: readonly Hook[] | undefined,
  state: RuntimeState,
  warn: (message: string) => void,
): Promise<void> {
  for (const hook of hooks ?? []) {
    const failure = await runHook(hook, state)
    if (failure !== null) warn(`poststop hook "${hook.path}": ${failure}`)
  }
}

/** Null when it succeeded, else how it failed. */
async function runHook(hook: Hook, state: RuntimeState): Promise<string | null> {
  try {
    return await execHook(hook, JSON.stringify(state))
  } catch (error) {
    return messageOf(error)
  }
}

async function execHook(hook: Hook, state: string): Promise<string | null> {
  const child = Bun.spawn([hook.path, ...(hook.args ?? []).slice(1)], {
    ...(hook.args?.[0] !== undefined && { argv0: hook.args[0] }),
    ...(hook.env !== undefined && { env: environment(hook.env) }),
    stdin: new TextEncoder().encode(state),
    stdout: 'ignore',
    stderr: 'pipe',
    ...(hook.timeout !== undefined && { timeout: hook.timeout * MS_PER_SECOND, killSignal: SIGKILL }),
  })
  const said = await new Response(child.stderr).text()
  const code = await child.exited
  if (code === 0) return null
  const outcome = child.signalCode === null ? `exit status ${code}` : `killed by ${child.signalCode}`
  return `${outcome}${said === '' ? '' : `: ${said.slice(-OUTPUT_LIMIT).trim()}`}`
}

function environment(variables: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    variables.map(variable => {
      const at = variable.indexOf('=')
      return at === -1 ? [variable, ''] : [variable.slice(0, at), variable.slice(at + 1)]
    }),
  )
}

import { messageOf } from '../lib/error.ts'
import type { Hook } from '../oci/runtime-spec.ts'
import type { FoundContainer } from './container-state.ts'
import { stateDocument } from './state.ts'

const MS_PER_SECOND = 1000
const SIGKILL = 9
/** How much of a hook's output is kept for the message. */
const OUTPUT_LIMIT = 400

/**
 * Runs the hooks that come when the container is there or gone: poststart and poststop. A failure is logged and the next hook runs,
 * as the spec says. The other kinds are steps of the plan. Source: runtime-spec › POSIX-platform Hooks.
 */
export async function runHooks(
  kind: 'poststart' | 'poststop',
  found: FoundContainer,
  warn: (message: string) => void,
): Promise<void> {
  const hooks = found.directory.spec().hooks?.[kind] ?? []
  if (hooks.length === 0) return
  const status = kind === 'poststart' ? 'running' : 'stopped'
  const state = JSON.stringify(stateDocument({ ...found, status }))
  for (const hook of hooks) {
    try {
      const failure = await runHook(hook, state)
      if (failure !== null) warn(`${kind} hook "${hook.path}": ${failure}`)
    } catch (error) {
      warn(`${kind} hook "${hook.path}": ${messageOf(error)}`)
    }
  }
}

async function runHook(hook: Hook, state: string): Promise<string | null> {
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

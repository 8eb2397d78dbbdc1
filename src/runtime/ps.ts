import { BerthError, messageOf } from '../lib/error.ts'
import { cgroupOf } from './container-cgroup.ts'
import { findContainer } from './container-state.ts'
import type { RuntimeOptions } from './runtime-options.ts'

/** The processes of a container, by its cgroup, as our PID namespace numbers them; none when it is stopped. */
export function containerPids(id: string, options: RuntimeOptions): readonly number[] {
  return cgroupOf(findContainer(options.root, id).record).pids()
}

/**
 * What the host's `ps` says of these processes. It is run over all processes and its lines are chosen by their PID column, so
 * every option of ps that keeps this column works; that is what runc does.
 * @throws {BerthError} unavailable: there is no ps; invalidArgument: ps refused its options, or its output has no PID column
 */
export async function hostPs(args: readonly string[], pids: readonly number[]): Promise<string> {
  const [out, said, status] = await runPs(args.length === 0 ? ['-ef'] : args)
  if (status !== 0)
    throw new BerthError('invalidArgument', `Cannot run "ps ${args.join(' ')}": status ${status}: ${said.trim()}`)
  return chooseLines(out, pids)
}

async function runPs(args: readonly string[]): Promise<[out: string, said: string, status: number]> {
  try {
    const ps = Bun.spawn(['ps', ...args], { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
    return await Promise.all([new Response(ps.stdout).text(), new Response(ps.stderr).text(), ps.exited])
  } catch (error) {
    throw new BerthError(
      'unavailable',
      `Cannot run "ps": ${messageOf(error)}, expected it on the host (--format json does without)`,
      { cause: error },
    )
  }
}

/** The title line and the lines of these processes. @throws {BerthError} invalidArgument: no PID column */
export function chooseLines(output: string, pids: readonly number[]): string {
  const [titles = '', ...lines] = output.split('\n')
  const column = words(titles).indexOf('PID')
  if (column === -1)
    throw new BerthError('invalidArgument', 'Cannot tell processes apart: the output of ps has no PID column')
  const wanted = new Set(pids.map(String))
  const chosen = lines.filter(line => wanted.has(words(line)[column] ?? ''))
  return [titles, ...chosen].map(line => `${line}\n`).join('')
}

function words(line: string): readonly string[] {
  return line.trim().split(/\s+/)
}

import { converse, type Launched, type LauncherConnection } from '../host/launch-conversation.ts'
import type { LaunchOptions } from '../host/launcher.ts'
import { BerthError, type ErrorCategory } from '../lib/error.ts'
import type { Plan } from '../plan/step.ts'
import { programOf, StepError } from '../plan/step-error.ts'

/**
 * `launch` for a plan that ends in a program. That the program can't be executed is said in runc's words, since engines read them:
 * Podman and dockerd make exit status 127 of "executable file not found in $PATH" and "no such file or directory", and 126 of
 * "permission denied".
 * @throws {BerthError} notFound, forbidden, invalidArgument: the program; else as `launch`
 */
export async function launchProgram(
  plan: Plan,
  options: LaunchOptions,
  launcher?: LauncherConnection,
): Promise<Launched> {
  const connection = launcher ?? new (await import('../host/launcher.ts')).Launcher(options)
  try {
    return await converse(connection, plan, options)
  } catch (error) {
    throw error instanceof StepError ? (programError(programOf(plan), error) ?? error) : error
  }
}

const REASONS: Readonly<Record<string, readonly [ErrorCategory, string]>> = {
  ENOENT: ['notFound', 'no such file or directory'],
  ENOTDIR: ['notFound', 'not a directory'],
  EACCES: ['forbidden', 'permission denied'],
  EPERM: ['forbidden', 'operation not permitted'],
  ENOEXEC: ['invalidArgument', 'exec format error'],
}

/** The program of a container or exec could not be executed. */
export class ProgramError extends BerthError {
  override readonly name = 'ProgramError'
  /** What a shell, docker and podman make of it: 127 when it is not there, 126 when it is and can't be executed. */
  readonly exitCode: 126 | 127

  constructor(category: ErrorCategory, message: string, options: ErrorOptions) {
    super(category, message, options)
    this.exitCode = category === 'notFound' ? 127 : 126
  }
}

/** What a failed step means for the program that a plan ends in; null when the step is about something else. */
export function programError(name: string, error: StepError): ProgramError | null {
  if (error.op !== 'access_exec' && error.op !== 'execve') return null
  const [category, text] = REASONS[error.errno] ?? []
  if (category === undefined) return null
  const quoted = JSON.stringify(name)
  const said = (reason: string): ProgramError =>
    new ProgramError(category, `Cannot start the program: ${reason}`, { cause: error })
  if (error.errno !== 'ENOENT') return said(`exec: ${quoted}: ${text}`)
  // The search has found it before, so what execve misses is the interpreter that the file names.
  if (error.op === 'execve') return said(`exec ${name}: ${text} (the interpreter or loader that it names)`)
  return said(
    name.includes('/')
      ? `exec: ${quoted}: stat ${name}: ${text}`
      : `exec: ${quoted}: executable file not found in $PATH`,
  )
}

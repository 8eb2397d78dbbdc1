import { O_DIRECTORY, O_PATH, O_RDWR } from '../linux/open-flags.ts'
import type { Process } from '../oci/runtime-spec.ts'
import type { Slot } from '../plan/slots.ts'
import { step } from '../plan/step.ts'
import type { Console } from './compose-console.ts'
import type { ContainerInput } from './container-input.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** The shim's socket and its exit record, in a container's state directory. */
export const SHIM_SOCKET = 'shim.sock'
export const EXIT_RECORD = 'exit'

/** The container's stdio as pipes: the child's ends and the shim's. */
export interface ShimPipes {
  readonly child: readonly [Slot, Slot, Slot]
  /** Null: the container reads /dev/null. */
  readonly stdin: Slot | null
  readonly stdout: Slot
  readonly stderr: Slot
}

/** Makes the pipes of a container whose launcher becomes its shim; null where there is a terminal or no shim. */
export function shimPipes(builder: PlanBuilder, input: ContainerInput, process: Process): ShimPipes | null {
  if (input.ending.kind !== 'serve' || process.terminal === true) return null
  const pipe = (name: string): [Slot, Slot] => {
    const reader = builder.slots.allocate(`${name} (read end)`)
    const writer = builder.slots.allocate(`${name} (write end)`)
    builder.host.push(step('pipe', { reader, writer }, `make a pipe for the container's ${name}`))
    return [reader, writer]
  }
  const [stdout, childStdout] = pipe('stdout')
  const [stderr, childStderr] = pipe('stderr')
  if (input.ending.stdin) {
    const [childStdin, stdin] = pipe('stdin')
    return { child: [childStdin, childStdout, childStderr], stdin, stdout, stderr }
  }
  const nothing = builder.slots.allocate('null')
  builder.host.push(
    step('open', { path: '/dev/null', flags: O_RDWR, mode: 0, out: nothing }, 'give the container nothing to read'),
  )
  return { child: [nothing, childStdout, childStderr], stdin: null, stdout, stderr }
}

/** What the launcher does once the container exists: end, wait for it, or stay as its shim. */
export function composeEnding(
  builder: PlanBuilder,
  input: ContainerInput,
  console: Console | null,
  pipes: ShimPipes | null,
): void {
  const { ending } = input
  if (ending.kind === 'wait') builder.parent.push(step('wait_child', {}, 'wait for the container to end'))
  if (ending.kind !== 'serve') return
  const directory = builder.slots.allocate('directory of the shim')
  const listener = builder.slots.allocate('shim socket')
  const logDirectory = ending.log === null ? null : builder.slots.allocate('directory of the log')
  builder.host.unshift(
    step('setsid', {}, 'outlive the terminal of the caller'),
    step(
      'open',
      { path: input.stateDirectory, flags: O_PATH | O_DIRECTORY, mode: 0, out: directory },
      "find the container's state directory",
    ),
    step(
      'listen',
      { dir: directory, name: SHIM_SOCKET, mode: 0o600, out: listener },
      'make the socket for attach, resize and signals',
    ),
  )
  if (ending.log !== null)
    builder.host.unshift(
      step(
        'open',
        { path: ending.log.directory, flags: O_PATH | O_DIRECTORY, mode: 0, out: logDirectory },
        'find the directory of the log',
      ),
    )
  if (pipes !== null)
    for (const slot of new Set(pipes.child))
      builder.parent.push(
        step('close', { fd: slot }, "keep only the shim's end of the pipe, so that end of file is seen"),
      )
  builder.parent.push(
    step(
      'serve',
      {
        listener,
        terminal: console?.master ?? null,
        stdin: pipes?.stdin ?? null,
        stdout: pipes?.stdout ?? null,
        stderr: pipes?.stderr ?? null,
        logDir: logDirectory,
        logName: ending.log?.name ?? '',
        logMaxBytes: ending.log?.maxBytes ?? 0,
        logMaxFiles: ending.log?.maxFiles ?? 0,
        exitDir: directory,
        exitName: EXIT_RECORD,
      },
      'stay as the shim: stdio, log, exit status',
    ),
  )
}

import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { processIdentity, sameProcess } from '../host/process-identity.ts'
import { connectShim } from '../host/shim-client.ts'
import { forwardSignals } from '../host/signals.ts'
import { outputWriter, rawTerminal, relayInput, relaySize, terminalSize } from '../host/terminal.ts'
import { BerthError } from '../lib/error.ts'
import { exitCodeOf } from '../linux/wait-status.ts'
import type { Process } from '../oci/runtime-spec.ts'
import { type ExecOptions, execInContainer } from './exec.ts'
import { knock } from './start.ts'
import { StateDirectory } from './state-directory.ts'

/** `ExecOptions` for a process with our own stdio or terminal. */
export interface RunExecOptions extends Omit<ExecOptions, 'ending' | 'stdio'> {
  readonly detach: boolean
}

/**
 * Runs a further process in a container. In the foreground it forwards signals, waits, and returns the exit status as a shell
 * would see it (128 + signal); detached it returns 0 once the program runs.
 * @throws {BerthError} as `execInContainer`; invalidArgument: a terminal that nobody would have
 */
export async function runExec(id: string, process_: Process, options: RunExecOptions): Promise<number> {
  const terminal = process_.terminal === true
  if (options.detach && terminal && options.consoleSocket === null)
    throw new BerthError(
      'invalidArgument',
      `Cannot exec in container "${id}": a detached terminal needs somebody who has it, expected --console-socket`,
    )
  if (options.consoleSocket !== null && !(options.detach && terminal))
    throw new BerthError(
      'invalidArgument',
      `Cannot exec in container "${id}": --console-socket is for a detached process with a terminal`,
    )
  if (terminal && !options.detach) return await execOnOurTerminal(id, process_, options)
  return await execOnOurStdio(id, process_, options)
}

async function execOnOurStdio(id: string, process_: Process, options: RunExecOptions): Promise<number> {
  if (options.detach) {
    await execInContainer(id, process_, { ...options, stdio: [0, 1, 2], ending: { kind: 'exit' } })
    return 0
  }
  const early: number[] = []
  let deliver = (signal: number): void => void early.push(signal)
  // From before there is a process: what it says first may already make somebody send us a signal.
  using _ = forwardSignals(signal => deliver(signal))
  const launched = await execInContainer(id, process_, {
    ...options,
    stdio: [0, 1, 2],
    ending: { kind: 'wait' },
    onPid: pid => {
      const identity = processIdentity(pid)
      deliver = signal => {
        if (identity !== null && sameProcess(identity)) process.kill(pid, signal)
      }
      for (const signal of early) deliver(signal)
    },
  })
  const waitStatus = await launched.exited()
  if (waitStatus === null)
    throw new BerthError('internal', `Cannot tell how the process in container "${id}" ended: its launcher was killed`)
  return exitCodeOf(waitStatus)
}

/** The launcher keeps the terminal as a shim, and we are its client. */
async function execOnOurTerminal(id: string, process_: Process, options: RunExecOptions): Promise<number> {
  const directory = new StateDirectory(options.root, id).path
  // No other exec may find these, not even one with our process id after a crash.
  const name = `exec-${randomUUID()}`
  const ending = { kind: 'relay', directory, startSocket: `${name}.start`, shimSocket: `${name}.sock` } as const
  const forget = (): void => {
    for (const socket of [ending.startSocket, ending.shimSocket]) rmSync(join(directory, socket), { force: true })
  }
  try {
    const { afterStart } = await execInContainer(id, sized(process_), {
      ...options,
      stdio: ['ignore', 'ignore', 'ignore'],
      ending,
    })
    using shim = await connectShim(join(directory, ending.shimSocket), { onStdout: outputWriter('stdout') })
    await shim.attach({ stdout: true, stderr: false })
    await knock(`the process in container "${id}"`, join(directory, ending.startSocket), afterStart)
    forget()
    // A signal that comes too late for the process is lost, as it would be with kill(2).
    using _ = forwardSignals(signal => void shim.signal(signal).catch(() => undefined))
    await using _raw = await rawTerminal()
    using _size = relaySize(shim)
    const { code } = await relayInput(shim)
    return code
  } finally {
    forget()
  }
}

function sized(process_: Process): Process {
  const size = terminalSize()
  return size === null ? process_ : { ...process_, consoleSize: { height: size.rows, width: size.columns } }
}

import { join } from 'node:path'
import { connectShim } from '../host/shim-client.ts'
import { forwardSignals } from '../host/signals.ts'
import { relayInput, terminalSize } from '../host/terminal.ts'
import { BerthError } from '../lib/error.ts'
import { exitCodeOf } from '../linux/wait-status.ts'
import { SHIM_SOCKET } from './compose-shim.ts'
import type { FoundContainer } from './container-state.ts'
import { type CreateOptions, createContainer } from './create.ts'
import { destroyContainer } from './delete.ts'
import { signalContainer } from './kill.ts'
import { runHooks } from './run-hooks.ts'
import { startContainer } from './start.ts'

/** `CreateOptions` for a container that is started at once. */
export interface RunOptions extends Omit<CreateOptions, 'start' | 'ending'> {
  readonly detach: boolean
  /** Keep it when it has ended. */
  readonly keep: boolean
}

/**
 * Creates and starts a container in one go. In the foreground it forwards signals, waits, removes the container and returns the
 * exit status as a shell would see it (128 + signal); detached it returns 0 once the program runs.
 * @throws {BerthError} as `createContainer` does
 */
export async function runContainer(id: string, options: RunOptions): Promise<number> {
  if (options.detach || options.consoleSocket !== null || !(await wantsTerminal(options)))
    return await runOnOurStdio(id, options)
  return await runOnOurTerminal(id, options)
}

async function wantsTerminal(options: RunOptions): Promise<boolean> {
  const { readBundle } = await import('./bundle.ts')
  return readBundle(options.bundle).spec.process?.terminal === true
}

/** The program has our stdio itself, or a terminal whose master went to the console socket. */
async function runOnOurStdio(id: string, options: RunOptions): Promise<number> {
  const created = await createContainer(id, {
    ...options,
    start: 'now',
    ending: { kind: options.detach ? 'exit' : 'wait' },
  })
  const found: FoundContainer = { ...created, status: 'running' }
  await runHooks('poststart', found, options.warn)
  if (options.detach) return 0
  using _ = forwardSignals(signal => void signalContainer(found, signal))
  const waitStatus = await created.exited
  if (!options.keep) await destroyContainer(found, options)
  if (waitStatus === null)
    throw new BerthError('internal', `Cannot tell how container "${id}" ended: its launcher was killed`)
  return exitCodeOf(waitStatus)
}

/** A shim keeps the terminal, and we are its client: the same way as the engine's containers go. */
async function runOnOurTerminal(id: string, options: RunOptions): Promise<number> {
  const created = await createContainer(id, {
    ...options,
    stdio: ['ignore', 'ignore', 'ignore'],
    start: 'on request',
    ending: { kind: 'serve', stdin: true, log: null },
  })
  const found: FoundContainer = { ...created, status: 'running' }
  using shim = await connectShim(join(created.directory.path, SHIM_SOCKET), { onStdout: bytes => writeOut(bytes) })
  await shim.attach({ stdout: true, stderr: false })
  const size = terminalSize()
  if (size !== null) await shim.resize(size.rows, size.columns)
  await startContainer(id, options)
  using _ = forwardSignals(signal => void shim.signal(signal))
  const { code } = await relayInput(shim, true)
  if (!options.keep) await destroyContainer(found, options)
  return code
}

function writeOut(bytes: Uint8Array): Promise<void> | void {
  if (process.stdout.write(bytes)) return
  return new Promise(resolve => process.stdout.once('drain', () => resolve()))
}

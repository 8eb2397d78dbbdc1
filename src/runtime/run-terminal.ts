import { join } from 'node:path'
import { connectShim } from '../host/shim-client.ts'
import { forwardSignals } from '../host/signals.ts'
import { outputWriter, rawTerminal, relayInput, relaySize, terminalSize } from '../host/terminal.ts'
import type { Bundle } from './bundle.ts'
import { SHIM_SOCKET } from './compose-shim.ts'
import type { FoundContainer } from './container-state.ts'
import { createContainer, type RunOptions } from './create.ts'
import { destroyContainer } from './delete.ts'
import { startContainer } from './start.ts'

/** A shim keeps the terminal, and we are its client: the same way as the engine's containers go. */
export async function runOnOurTerminal(id: string, bundle: Bundle, options: RunOptions): Promise<number> {
  const created = await createContainer(
    id,
    {
      ...options,
      stdio: ['ignore', 'ignore', 'ignore'],
      start: 'on request',
      ending: { kind: 'serve', stdin: true, log: null },
    },
    bundle,
  )
  const found: FoundContainer = { ...created, status: 'running' }
  using shim = await connectShim(join(created.directory.path, SHIM_SOCKET), { onStdout: outputWriter('stdout') })
  await shim.attach({ stdout: true, stderr: false })
  const size = terminalSize()
  if (size !== null) await shim.resize(size.rows, size.columns)
  using _ = forwardSignals(signal => void shim.signal(signal))
  await startContainer(id, options)
  await using _raw = await rawTerminal()
  using _size = relaySize(shim)
  const { code } = await relayInput(shim)
  if (!options.keep) await destroyContainer(found, options)
  return code
}

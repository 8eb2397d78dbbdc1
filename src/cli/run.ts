import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs'
import type { ContainerOptions } from '../engine/container-options.ts'
import type { GivenRoots } from '../engine/data-root.ts'
import type { PullShow } from '../engine/image-engine.ts'
import { keepLayers } from '../engine/keep-layers.ts'
import { type Engine, openEngine } from '../engine/open-engine.ts'
import {
  attachContainer,
  type EngineContainer,
  makeContainer,
  putAway,
  startEngineContainer,
} from '../engine/run-container.ts'
import { sweepContainers } from '../engine/sweep.ts'
import { forwardSignals } from '../host/signals.ts'
import { outputWriter, rawTerminal, relayInput, relaySize } from '../host/terminal.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { ProgramError } from '../runtime/launch-program.ts'
import { CONTAINER_OPTIONS } from './container-grammar.ts'
import { readContainerOptions } from './container-options.ts'
import { ENGINE_FAILURE, fail, warnOnStderr } from './failure.ts'
import { type Grammar, helpText, parseOptions } from './options.ts'
import type { TransferShow } from './transfer-show.ts'

export const RUN_GRAMMAR: Grammar = {
  name: 'run',
  operands: 'IMAGE [COMMAND [ARG...]]',
  help: 'Runs a command in a new container. IMAGE is the name or id of an image, pulled when it is missing; "host" (this machine, copy-on-write); oci:DIR[:TAG], an OCI layout; or with --rootfs a directory.',
  options: CONTAINER_OPTIONS,
  stopAtOperand: true,
}

/** Exit statuses above it tell of a signal. */
const SIGNALLED = 128
const KILLED_BY_SIGPIPE = SIGNALLED + 13

/** `berth run`: exit status 125 when Berth failed, 126 when the program can't be executed, 127 when it is not there, else the program's. */
export async function runCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(RUN_GRAMMAR, args)
  if (parsed.flag('help')) {
    console.log(helpText(RUN_GRAMMAR, 'berth'))
    return 0
  }
  const options = readContainerOptions(parsed)
  if (options.terminal && options.interactive && !process.stdin.isTTY)
    throw new BerthError('invalidArgument', 'Cannot run with -it: the input device is not a TTY')
  const opened = openEngine(roots, warn)
  const engine = parsed.flag('quiet') ? opened : { ...opened, showPull }
  using idFile = openIdFile(parsed.value('cidfile'))
  try {
    return await runAndRemove(options, engine, { idFile, proxySignals: parsed.value('sig-proxy') !== 'false' })
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error
    fail(error)
    return error.exitCode
  }
}

/** Where a pull is drawn it goes on below; what draws is loaded only then. */
let showing: TransferShow | null = null

function warn(message: string): void {
  const write = (): void => warnOnStderr(message)
  if (showing === null) write()
  else showing.aside(write)
}

/** As docker's: what is missing and how it comes, where it does not mix with the program's output. */
async function showPull(name: string): Promise<PullShow> {
  console.error(`Unable to find image '${name}' locally`)
  const { TransferShow } = await import('./transfer-show.ts')
  showing = new TransferShow(process.stderr, 'pull')
  return showing
}

/** Takes the name of the file at once, before there is a container that could not be told of; removed when none was. */
function openIdFile(path: string | undefined): { readonly write: (id: string) => void } & Disposable {
  if (path === undefined) return { write() {}, [Symbol.dispose]() {} }
  let fd: number
  try {
    fd = openSync(path, 'wx')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST')
      throw new BerthError('conflict', `Cannot write container id file "${path}": it exists, remove it or use another`)
    throw new BerthError('invalidArgument', `Cannot write container id file "${path}": ${messageOf(error)}`, {
      cause: error,
    })
  }
  let written = false
  return {
    write(id) {
      writeFileSync(fd, id)
      written = true
    },
    [Symbol.dispose]() {
      closeSync(fd)
      if (!written) rmSync(path, { force: true })
    },
  }
}

interface RunChoices {
  readonly idFile: { readonly write: (id: string) => void }
  readonly proxySignals: boolean
}

async function runAndRemove(
  options: ContainerOptions,
  engine: Engine,
  { idFile, proxySignals }: RunChoices,
): Promise<number> {
  let interrupted: number | null = null
  let container: EngineContainer
  {
    // Until the program runs there is nobody to pass a signal on to: what was made is put away, and we end by it.
    const stopped = new AbortController()
    using _ = forwardSignals(signal => {
      interrupted ??= signal
      stopped.abort()
    })
    try {
      container = await makeContainer(options, { ...engine, signal: stopped.signal })
    } catch (error) {
      if (interrupted === null || !(error instanceof BerthError) || error.category !== 'cancelled') throw error
      return SIGNALLED + interrupted
    }
  }
  if (interrupted !== null) {
    await putAway(container, SIGNALLED + interrupted, engine)
    return SIGNALLED + interrupted
  }
  try {
    idFile.write(container.id)
    const code = await converse(container, engine, {
      terminal: options.terminal,
      interactive: options.interactive,
      proxySignals,
    })
    await putAway(container, code, engine)
    return code
  } catch (error) {
    const readerGone = (error as NodeJS.ErrnoException).code === 'EPIPE'
    const code = error instanceof ProgramError ? error.exitCode : readerGone ? KILLED_BY_SIGPIPE : ENGINE_FAILURE
    // Nobody reads the output any more: the container ends, as a program in a pipeline does.
    await putAway(container, code, engine)
    if (readerGone) return code
    throw error
  }
}

interface Conversation {
  readonly terminal: boolean
  readonly interactive: boolean
  readonly proxySignals: boolean
}

/** Attaches, starts, and relays until the end: attached first, so that not a byte of output is lost. */
async function converse(
  container: EngineContainer,
  engine: Engine,
  { terminal, interactive, proxySignals }: Conversation,
): Promise<number> {
  using shim = await attachContainer(container, {
    onStdout: outputWriter('stdout'),
    onStderr: outputWriter('stderr'),
  })
  // A signal that comes before the program runs goes to it as soon as it does, as all later ones.
  using _ = proxySignals ? forwardSignals(signal => void shim.signal(signal).catch(() => undefined)) : null
  await using _raw = terminal && interactive ? await rawTerminal() : null
  await startEngineContainer(container, engine)
  // While the program runs: what other clients have left that were killed.
  await sweepContainers(engine)
  const keeping = keepLayers(engine)
  using _size = terminal ? relaySize(shim) : null
  const { code } = interactive ? await relayInput(shim) : await shim.exited
  await keeping
  return code
}

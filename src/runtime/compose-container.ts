import { BerthError } from '../lib/error.ts'
import { AT_REMOVEDIR, O_DIRECTORY, O_PATH, O_RDONLY } from '../linux/open-flags.ts'
import type { Slot } from '../plan/slots.ts'
import { type Plan, type Step, step } from '../plan/step.ts'
import { type Beginning, composeBeginning } from './compose-beginning.ts'
import { type Console, composeConsole, handOverMaster, mountConsole } from './compose-console.ts'
import type { SeccompFilter } from './compose-credentials.ts'
import { composeDevices } from './compose-devices.ts'
import { handover } from './compose-handover.ts'
import { composeCreateHooks, hookSteps } from './compose-hooks.ts'
import { composeHostname, composePaths, composeSysctl, refuseUnavailable } from './compose-isolation.ts'
import { composeMounts } from './compose-mounts.ts'
import { ASK_RECORD, composeNamespaces } from './compose-namespaces.ts'
import { composeNetwork } from './compose-network.ts'
import { composeProcess } from './compose-process.ts'
import { attachPatches, attachRoot, enterRoot, prepareRoot } from './compose-rootfs.ts'
import { composeEnding, SHIM_SOCKET, shimPipes } from './compose-shim.ts'
import type { ContainerInput } from './container-input.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** The socket in a container's state directory at which its process waits for `start`. */
export const START_SOCKET = 'start.sock'

/** Everything that may be in a state directory while a container is being made. */
const STATE_FILES = [
  'config.json',
  'state.json',
  'state.json.tmp',
  'creator.tmp',
  START_SOCKET,
  SHIM_SOCKET,
  // Last: as long as it is there, whoever wants the id sees that this is not over.
  'creator',
] as const

/**
 * The plan of a container: from its config, checked before, to the list of kernel calls that make it. Pure. `beginning` is what the
 * builder has of it already.
 * @throws {BerthError} invalidArgument, unavailable or notImplemented, for what can't be made, naming the config's field
 */
export function composeContainer(
  builder: PlanBuilder,
  input: ContainerInput,
  seccomp: SeccompFilter | null,
  beginning: Beginning = composeBeginning(builder, input),
): Plan {
  const { process } = input.spec
  if (process === undefined)
    throw new BerthError('invalidArgument', 'Cannot create the container: config.json has no process')
  refuseUnavailable(input)
  const listener = input.start === 'on request' ? listen(builder, input.stateDirectory) : null
  const pipes = shimPipes(builder, input, process)
  composeNamespaces(builder, input, process, beginning)
  const hand = handover(builder)
  const root = prepareRoot(builder, input, hand)
  attachRoot(builder, input, root)
  const late = [...attachPatches(builder, input, root), ...composeMounts(builder, input, root, hand)]
  composeDevices(builder, input, root)
  const console = terminal(builder, input, root)
  builder.child.push(
    step(
      'mkdirs',
      { root, path: process.cwd, mode: 0o755, out: null },
      'make sure that the working directory exists (process.cwd)',
    ),
  )
  composeNetwork(builder, input, input.netDevices, beginning.network)
  composeCreateHooks(builder, input)
  composeHostname(builder, input)
  composePaths(builder, input, root)
  builder.child.push(...late)
  enterRoot(builder, input, root)
  composeSysctl(builder, input, beginning.hostProc)
  // Whoever dies from here on, the container can be found again. Asked late, so that nobody waits for the answer.
  builder.parent.push(step('ask', { tag: ASK_RECORD }, 'make sure that the container is on record'))
  composeProcess(builder, {
    process,
    spec: input.spec,
    facts: input.facts,
    stdio: input.stdio,
    console,
    pipes: pipes?.child ?? null,
    hostProc: beginning.hostProc,
    seccomp,
    keyring: input.newKeyring ? `_ses.${input.id}` : null,
    listener,
    startHooks: hookSteps(input, 'startContainer'),
  })
  composeEnding(builder, input, console, pipes)
  // Interfaces of the host that were moved can only be brought back with what the directory says of them.
  if (input.netDevices.length === 0) builder.undo.push(...forget(input.stateDirectory))
  return builder.finish()
}

/** When TypeScript dies while the container is being made, the launcher removes the traces on disk too. */
function forget(stateDirectory: string): Step[] {
  return [
    ...STATE_FILES.map(name =>
      step('unlink', { dir: null, path: `${stateDirectory}/${name}`, flags: 0 }, 'forget the container'),
    ),
    step('unlink', { dir: null, path: stateDirectory, flags: AT_REMOVEDIR }, 'forget the container'),
  ]
}

/** Opens the door at which `start` will knock: the child holds the socket, so that nobody needs to stay for it. */
function listen(builder: PlanBuilder, stateDirectory: string): Slot {
  const directory = builder.slots.allocate('state directory')
  const listener = builder.slots.allocate('start socket')
  builder.host.push(
    step(
      'open',
      { path: stateDirectory, flags: O_RDONLY | O_PATH | O_DIRECTORY, mode: 0, out: directory },
      "find the container's state directory",
    ),
    step(
      'listen',
      { dir: directory, name: START_SOCKET, mode: 0o600, out: listener },
      'make the socket at which the process waits for start',
    ),
  )
  return listener
}

function terminal(builder: PlanBuilder, input: ContainerInput, root: Slot): Console | null {
  const { process } = input.spec
  const { consoleSocket } = input.stdio
  if (process?.terminal !== true) {
    if (consoleSocket === null) return null
    throw new BerthError('invalidArgument', 'Cannot use --console-socket: process.terminal is not true')
  }
  if (consoleSocket === null && input.ending.kind !== 'serve')
    throw new BerthError(
      'invalidArgument',
      'Cannot give the container a terminal: nobody takes its master, expected --console-socket',
    )
  const console = composeConsole(builder, process, root, null)
  mountConsole(builder, root, console)
  handOverMaster(builder, console, input.stdio.consoleSocket)
  return console
}

import { BerthError } from '../lib/error.ts'
import { O_DIRECTORY, O_PATH, O_RDONLY } from '../linux/open-flags.ts'
import type { Slot } from '../plan/slots.ts'
import { type Plan, step } from '../plan/step.ts'
import { type Console, composeConsole, handOverMaster, mountConsole } from './compose-console.ts'
import type { SeccompFilter } from './compose-credentials.ts'
import { composeDevices } from './compose-devices.ts'
import { composeCreateHooks, hookSteps } from './compose-hooks.ts'
import { composeHostname, composePaths, composeSysctl, openHostProc } from './compose-isolation.ts'
import { composeMounts } from './compose-mounts.ts'
import { composeNamespaces } from './compose-namespaces.ts'
import { composeProcess } from './compose-process.ts'
import { attachRoot, enterRoot, handover, prepareRoot } from './compose-rootfs.ts'
import { composeEnding, shimPipes } from './compose-shim.ts'
import type { ContainerInput } from './container-input.ts'
import { PlanBuilder } from './plan-builder.ts'

/** The socket in a container's state directory at which its process waits for `start`. */
export const START_SOCKET = 'start.sock'

/**
 * The plan of a container: from its config, checked before, to the list of kernel calls that make it. Pure.
 * @throws {BerthError} invalidArgument, unavailable or notImplemented, for what can't be made, naming the config's field
 */
export function composeContainer(input: ContainerInput, seccomp: SeccompFilter | null): Plan {
  const builder = new PlanBuilder(input.stdio.preservedFds)
  const { process } = input.spec
  if (process === undefined)
    throw new BerthError('invalidArgument', 'Cannot create the container: config.json has no process')
  const hostProc = openHostProc(builder)
  const listener = input.start === 'on request' ? listen(builder, input.stateDirectory) : null
  const pipes = shimPipes(builder, input, process)
  builder.host.push(...input.cgroup.host)
  builder.undo.push(...input.cgroup.undo)
  composeNamespaces(builder, input, process)
  const hand = handover(builder)
  const root = prepareRoot(builder, input, hand)
  attachRoot(builder, input, root)
  const late = composeMounts(builder, input, root, hand)
  composeDevices(builder, input, root)
  const console = terminal(builder, input, root)
  builder.child.push(
    step(
      'mkdirs',
      { root, path: process.cwd, mode: 0o755, out: null },
      'make sure that the working directory exists (process.cwd)',
    ),
  )
  composeCreateHooks(builder, input)
  composeHostname(builder, input)
  composePaths(builder, input, root)
  builder.child.push(...late)
  enterRoot(builder, input, root)
  composeSysctl(builder, input, hostProc)
  composeProcess(builder, {
    process,
    spec: input.spec,
    facts: input.facts,
    stdio: input.stdio,
    console,
    pipes: pipes?.child ?? null,
    hostProc,
    seccomp,
    keyring: input.newKeyring ? `_ses.${input.id}` : null,
    listener,
    startHooks: hookSteps(input, 'startContainer'),
  })
  composeEnding(builder, input, console, pipes)
  return builder.finish()
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
  if (process?.terminal !== true) return null
  const console = composeConsole(builder, process, root, null)
  mountConsole(builder, root, console)
  handOverMaster(builder, console, input.stdio.consoleSocket)
  return console
}

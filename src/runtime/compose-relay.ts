import { O_DIRECTORY, O_PATH } from '../linux/open-flags.ts'
import type { Slot } from '../plan/slots.ts'
import { step } from '../plan/step.ts'
import type { Console } from './compose-console.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** What becomes of the launcher of an exec once its process runs. */
export type ExecEnding =
  | { readonly kind: 'exit' }
  | { readonly kind: 'wait' }
  | {
      /** It keeps the process's terminal and serves it at a socket, see docs/shim-protocol.md; the process waits for a knock. */
      readonly kind: 'relay'
      /** Absolute path of the container's state directory. */
      readonly directory: string
      /** File names in it. */
      readonly startSocket: string
      readonly shimSocket: string
    }

/** The sockets of a relay. */
export interface Relay {
  /** Where the process waits until somebody is attached, so that none of its output is lost. */
  readonly start: Slot
  readonly shim: Slot
}

/** Makes the sockets; null for an ending without. */
export function listenForRelay(builder: PlanBuilder, ending: ExecEnding): Relay | null {
  if (ending.kind !== 'relay') return null
  const directory = builder.slots.allocate('state directory')
  const start = builder.slots.allocate('start socket')
  const shim = builder.slots.allocate('shim socket')
  builder.host.push(
    step('setsid', {}, 'outlive the terminal of the caller'),
    step(
      'open',
      { path: ending.directory, flags: O_PATH | O_DIRECTORY, mode: 0, out: directory },
      "find the container's state directory",
    ),
    step(
      'listen',
      { dir: directory, name: ending.startSocket, mode: 0o600, out: start },
      'make the socket at which the process waits until somebody is attached',
    ),
    step(
      'listen',
      { dir: directory, name: ending.shimSocket, mode: 0o600, out: shim },
      'make the socket for attach, resize and signals',
    ),
    step('close', { fd: directory }, 'bring no directory of the host into the container (CVE-2016-9962)'),
  )
  return { start, shim }
}

/** The last step of the launcher, if it has one. */
export function composeExecEnding(
  builder: PlanBuilder,
  ending: ExecEnding,
  relay: Relay | null,
  console: Console | null,
): void {
  if (ending.kind === 'wait') builder.parent.push(step('wait_child', {}, 'wait for the process to end'))
  if (relay === null) return
  builder.parent.push(
    step(
      'serve',
      {
        listener: relay.shim,
        terminal: console?.master ?? null,
        stdin: null,
        stdout: null,
        stderr: null,
        logDir: null,
        logName: '',
        logMaxBytes: 0,
        logMaxFiles: 0,
        exitDir: null,
        exitName: '',
      },
      'keep the terminal and serve it',
    ),
  )
}

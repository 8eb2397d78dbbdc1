import { existsSync } from 'node:fs'
import { runSteps } from '../host/helper.ts'
import { type NetworkState, readNetworkState } from '../host/net-devices.ts'
import { EINVAL } from '../lib/errno.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { MNT_DETACH, UMOUNT_NOFOLLOW } from '../linux/mount-flags.ts'
import { step } from '../plan/step.ts'
import { StepError } from '../plan/step-error.ts'
import { composeNetDeviceReturn, NETNS_PIN_NAME, type NetDeviceReturn } from './compose-network.ts'
import type { NetDeviceMove } from './net-devices.ts'

/**
 * Brings a container's host interfaces back to the runtime's network namespace and lets go of the container's namespace.
 * For `delete`, when no process of the container is left, and after a failed `create`. Idempotent: what is back, or was
 * never moved, is left alone, and so is a namespace that was joined by path, whose owner decides about it.
 *
 * Returns warnings for interfaces that came back under another name, or that the container has destroyed or replaced.
 * Routes over an interface are not restored.
 * @throws {BerthError} internal: some interface could not be moved. The namespace stays pinned, so that it is not lost.
 */
export async function returnNetDevices(stateDirectory: string, moves: readonly NetDeviceMove[]): Promise<string[]> {
  const pinPath = `${stateDirectory}/${NETNS_PIN_NAME}`
  if (moves.length === 0 || !existsSync(pinPath)) return []
  const warnings: string[] = []
  const failures: string[] = []
  const container = await readPinned(pinPath)
  for (const move of container === null ? [] : moves) {
    const host = await readNetworkState(null)
    const back = planReturn(move, container ?? host, host, warnings)
    if (back === null) continue
    try {
      await runSteps(composeNetDeviceReturn(pinPath, back))
    } catch (error) {
      failures.push(`Cannot move network device "${move.hostName}" back to the host: ${messageOf(error)}`)
    }
  }
  if (failures.length > 0) throw new BerthError('internal', failures.join('; '))
  await unpin(pinPath)
  return warnings
}

/** The state of the pinned namespace; null when nothing was bound on the pin, so nothing was moved. */
async function readPinned(pinPath: string): Promise<NetworkState | null> {
  try {
    return await readNetworkState(pinPath)
  } catch (error) {
    // EINVAL of setns: the pin is still a plain file, because the launcher ended between making it and binding it.
    if (error instanceof StepError && error.op === 'setns' && error.errno === 'EINVAL') return null
    throw error
  }
}

/**
 * How an interface goes back; null when it is not there any more, with a warning unless it is on the host already.
 * An interface of another kind at its index is the container's own make and stays.
 */
export function planReturn(
  move: NetDeviceMove,
  container: NetworkState,
  host: NetworkState,
  warnings: string[],
): NetDeviceReturn | null {
  const current = container.links.find(link => link.index === move.index && (link.kind ?? null) === move.kind)
  if (current === undefined) {
    if (!host.links.some(link => link.name === move.hostName))
      warnings.push(`network device "${move.hostName}" is gone: the container destroyed it or moved it away`)
    return null
  }
  const nameTaken = host.links.some(link => link.name === move.hostName || link.altNames.includes(move.hostName))
  if (nameTaken)
    warnings.push(`network device "${move.hostName}" comes back as dev%d: its name is taken on the host meanwhile`)
  const indices = host.links.map(link => link.index)
  const index = indices.includes(move.hostIndex) ? Math.max(...indices) + 1 : move.hostIndex
  return { move, current, name: nameTaken ? 'dev%d' : move.hostName, index }
}

async function unpin(pinPath: string): Promise<void> {
  const unmount = step(
    'umount',
    { path: pinPath, flags: MNT_DETACH | UMOUNT_NOFOLLOW },
    { why: "let go of the container's network namespace", tolerate: [EINVAL] },
  )
  await runSteps([unmount, step('unlink', { dir: null, path: pinPath, flags: 0 }, 'remove its place')])
}

import { BerthError, invariant } from '../lib/error.ts'
import { MOVE_MOUNT_F_EMPTY_PATH, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE } from '../linux/mount-flags.ts'
import { CLONE_NEWNET } from '../linux/namespaces.ts'
import { addAddress, IFA_F_NODAD, type InterfaceAddress, RT_SCOPE_UNIVERSE } from '../linux/netlink/address.ts'
import { netlinkArgs } from '../linux/netlink/batch.ts'
import { parseIpAddress } from '../linux/netlink/ip-address.ts'
import { type Link, setLink } from '../linux/netlink/link.ts'
import { loopbackUp } from '../linux/netlink/loopback-up.ts'
import { AT_EMPTY_PATH, O_DIRECTORY, O_PATH, O_RDONLY } from '../linux/open-flags.ts'
import { type Slot, SlotTable } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'
import { type ContainerInput, type HostFacts, makesNew, namespaceOf } from './container-input.ts'
import type { MovedAddress, NetDeviceMove } from './net-devices.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** The file in the container's state directory on which its network namespace is bound while it holds moved interfaces. */
export const NETNS_PIN_NAME = 'netns'

/** What the network's part of a plan is made from: a part of {@link ContainerInput}. */
export interface NetworkInput extends Pick<ContainerInput, 'spec' | 'stateDirectory'> {
  readonly facts: Pick<HostFacts, 'privileged'>
}

/**
 * The network of a container by the OCI config alone: loopback up in a new namespace, and host interfaces moved in
 * (`linux.netDevices`, found beforehand by `resolveNetDevices`). `network` is the namespace, where the launcher holds it already.
 *
 * There is no undo here: whatever fails later, the caller brings the interfaces back through the pinned namespace
 * (`returnNetDevices`), as `delete` does. The launcher's own undo could not, because it dies with the launcher.
 * @throws {BerthError} invalidArgument: devices but no network namespace of its own; forbidden: not privileged
 */
export function composeNetwork(
  builder: PlanBuilder,
  input: NetworkInput,
  moves: readonly NetDeviceMove[],
  network: Slot | null = null,
): void {
  if (makesNew(input.spec, 'network')) builder.child.push(step('netlink', loopbackUp(), 'set lo up'))
  if (moves.length === 0) return
  checkMovable(input, moves)
  const netns = network ?? findNetwork(builder)
  if (makesNew(input.spec, 'network')) builder.parent.push(...pinSteps(builder.slots, netns, input.stateDirectory))
  for (const move of moves) builder.parent.push(moveStep(move, netns))
  const tag = builder.tag()
  builder.parent.push(step('post', { tag }, 'say that the network devices are there'))
  builder.child.push(step('await', { tag }, 'wait for the network devices'), ...moves.map(configureStep))
}

function findNetwork(builder: PlanBuilder): Slot {
  const netns = builder.slots.allocate('container network namespace')
  builder.parent.push(
    step('open_child', { name: 'ns/net', flags: O_RDONLY, out: netns }, "find the container's network namespace"),
  )
  return netns
}

function checkMovable(input: NetworkInput, moves: readonly NetDeviceMove[]): void {
  const names = moves.map(move => move.hostName).join('", "')
  if (namespaceOf(input.spec, 'network') === null)
    throw new BerthError(
      'invalidArgument',
      `Cannot move network device "${names}" into the container: it shares the runtime's network namespace, expected one of its own`,
    )
  if (!input.facts.privileged)
    throw new BerthError(
      'forbidden',
      `Cannot move network device "${names}" into the container: the runtime is not root in the initial user namespace`,
    )
}

/** Binds the namespace to a file, before anything is moved: a virtual interface would be destroyed with its namespace. */
function pinSteps(slots: SlotTable, netns: Slot, stateDirectory: string): Step[] {
  const directory = slots.allocate('state directory')
  const tree = slots.allocate('pinned network namespace')
  return [
    step(
      'open',
      { path: stateDirectory, flags: O_PATH | O_DIRECTORY, mode: 0, out: directory },
      'find the state directory',
    ),
    step(
      'create_file',
      { dir: directory, path: NETNS_PIN_NAME, mode: 0o600, data: '' },
      'make a place for the network namespace',
    ),
    step(
      'open_tree',
      { dir: netns, path: '', flags: OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH, out: tree },
      'make the network namespace mountable',
    ),
    step(
      'move_mount',
      { from: tree, to: directory, path: NETNS_PIN_NAME, flags: MOVE_MOUNT_F_EMPTY_PATH },
      'keep the network namespace until its devices are back on the host',
    ),
  ]
}

function moveStep(move: NetDeviceMove, netns: Slot): Step {
  // One message: the kernel moves, then renames, so that the new name need not be free on the host.
  const message = setLink(
    { index: move.hostIndex },
    { newName: move.name, netns: { slot: netns.index }, newIndex: move.index },
  )
  const renamed = move.name === move.hostName ? '' : ` as ${move.name}`
  return step('netlink', netlinkArgs(message), `move ${move.hostName} into the container${renamed}`)
}

/** The kernel drops all addresses of a moved interface; the spec wants back the permanent ones of global scope. */
function configureStep(move: NetDeviceMove): Step {
  const addresses = move.addresses.filter(address => address.scope === RT_SCOPE_UNIVERSE)
  // The machine had this address on this link a moment ago, so looking for a duplicate would only delay its use by seconds.
  const messages = addresses.map(address => addAddress(move.index, bytesOf(address, IFA_F_NODAD), 'replace'))
  const given = addresses.map(address => `${address.local}/${address.prefixBits}`).join(', ')
  return step(
    'netlink',
    netlinkArgs(...messages, setLink({ index: move.index }, { up: true })),
    given === '' ? `set ${move.name} up` : `give ${move.name} ${given} again and set it up`,
  )
}

function bytesOf(address: MovedAddress, extraFlags: number): InterfaceAddress {
  return {
    local: ipBytes(address.local),
    prefixBits: address.prefixBits,
    ...(address.peer === null ? {} : { peer: ipBytes(address.peer) }),
    ...(address.broadcast === null ? {} : { broadcast: ipBytes(address.broadcast) }),
    flags: address.flags | (address.local.includes(':') ? extraFlags : 0),
    scope: address.scope,
    ...(address.metric === null ? {} : { metric: address.metric }),
  }
}

function ipBytes(text: string): Uint8Array {
  const bytes = parseIpAddress(text)
  invariant(bytes !== undefined, `IP address "${text}"`)
  return bytes
}

/** How one interface goes back: where it is, and what is free on the host. */
export interface NetDeviceReturn {
  readonly move: NetDeviceMove
  /** The interface as it is in the container's namespace. */
  readonly current: Link
  /** Its name on the host: the old one, or `dev%d` when that is taken meanwhile. */
  readonly name: string
  /** Its index on the host: the old one, or another free one. */
  readonly index: number
}

/**
 * Moves one interface from the pinned namespace back to the host's, as it was there: name, index, MTU, link-layer
 * address, permanent addresses, up or down. For a helper of its own, because a failure leaves it in the container's namespace.
 */
export function composeNetDeviceReturn(pinPath: string, back: NetDeviceReturn): Step[] {
  const { move, current, name, index } = back
  const slots = new SlotTable()
  const host = slots.allocate('host network namespace')
  const pinned = slots.allocate('pinned network namespace')
  const message = setLink({ index: current.index }, { netns: { slot: host.index }, newName: name, newIndex: index })
  const open = (path: string, out: Slot, why: string): Step =>
    step('open', { path, flags: O_RDONLY, mode: 0, out }, why)
  return [
    open('/proc/self/ns/net', host, "keep the host's network namespace"),
    open(pinPath, pinned, "find the container's network namespace"),
    step('setns', { fd: pinned, type: CLONE_NEWNET }, "enter the container's network namespace"),
    step('netlink', netlinkArgs(message), `move ${current.name} back to the host as ${name}`),
    step('setns', { fd: host, type: CLONE_NEWNET }, "return to the host's network namespace"),
    ...restoreSteps(move, current, index),
  ]
}

function restoreSteps(move: NetDeviceMove, current: Link, index: number): Step[] {
  const mtuChanged = move.mtuBytes !== null && move.mtuBytes !== current.mtuBytes
  const addressChanged = move.linkAddress !== null && move.linkAddress !== current.address?.toHex()
  const messages = [
    ...(mtuChanged && move.mtuBytes !== null ? [setLink({ index }, { mtuBytes: move.mtuBytes })] : []),
    ...(addressChanged && move.linkAddress !== null
      ? [setLink({ index }, { address: Uint8Array.fromHex(move.linkAddress) })]
      : []),
    ...move.addresses.map(address => addAddress(index, bytesOf(address, 0), 'replace')),
    ...(move.up ? [setLink({ index }, { up: true })] : []),
  ]
  if (messages.length === 0) return []
  return [step('netlink', netlinkArgs(...messages), `give ${move.hostName} its addresses and state again`)]
}

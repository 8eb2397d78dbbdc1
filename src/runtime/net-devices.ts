import type { NetworkState } from '../host/net-devices.ts'
import { BerthError } from '../lib/error.ts'
import {
  IFA_F_MANAGETEMPADDR,
  IFA_F_NODAD,
  IFA_F_NOPREFIXROUTE,
  IFA_F_PERMANENT,
  type InterfaceAddress,
} from '../linux/netlink/address.ts'
import { formatIpAddress } from '../linux/netlink/ip-address.ts'
import { IFF_LOOPBACK, IFF_UP, isLinkName, isLinkNameTemplate, type Link } from '../linux/netlink/link.ts'
import type { NetDevice } from '../oci/runtime-spec-linux.ts'

/** An address of a moved interface, as it is kept in the container's state. */
export interface MovedAddress {
  readonly local: string
  readonly prefixBits: number
  readonly peer: string | null
  readonly broadcast: string | null
  /** IFA_F_* of the kind that a user sets. */
  readonly flags: number
  /** RT_SCOPE_* */
  readonly scope: number
  readonly metric: number | null
}

/**
 * One host interface that a container gets, with what is needed to bring it back as it was: plain JSON, kept in the
 * container's state *before* the interface is moved, so that no crash can lose it.
 */
export interface NetDeviceMove {
  readonly hostName: string
  readonly hostIndex: number
  /** Its name in the container; may end with `%d`. */
  readonly name: string
  /** Its index in the container: chosen beforehand, because addresses are given by index and a name may be a template. */
  readonly index: number
  /** rtnetlink kind ("veth", …); null: physical. */
  readonly kind: string | null
  readonly mtuBytes: number | null
  /** Link-layer address in hexadecimal digits. */
  readonly linkAddress: string | null
  readonly up: boolean
  /** Its permanent addresses, of every scope. */
  readonly addresses: readonly MovedAddress[]
}

/**
 * Indices of moved interfaces start here: a new network namespace holds `lo` and, with some modules loaded, about ten
 * fallback tunnels (net.core.fb_tunnels_only_for_init_net), which have the first ones.
 */
const FIRST_INDEX = 64

const CARRIED_FLAGS = IFA_F_NODAD | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE

/**
 * Finds the interfaces of `linux.netDevices` on the host and decides what each becomes in the container.
 * `target` is the namespace they go to when it exists already (joined by path), null when it is made new.
 * @throws {BerthError} invalidArgument: a name no interface can have; notFound: no such interface on the host;
 * conflict: the name is taken in the container, or wanted twice
 * Source: runtime-spec 1.3 › Linux Container Configuration › Network Devices.
 */
export function resolveNetDevices(
  devices: Readonly<Record<string, NetDevice>>,
  host: NetworkState,
  target: NetworkState | null,
): NetDeviceMove[] {
  const takenNames = new Set(target?.links.flatMap(link => [link.name, ...link.altNames]) ?? ['lo'])
  const takenIndices = new Set(target?.links.map(link => link.index))
  return Object.entries(devices).map(([hostName, device]) => {
    const name = device.name === undefined || device.name === '' ? hostName : device.name
    checkNames(hostName, name, takenNames)
    takenNames.add(name)
    const link = findLink(host, hostName)
    // A path may lead to the runtime's own namespace, where the kernel would not move the device but rename it.
    if (target?.links.some(other => isSame(other, link)))
      throw refusal('conflict', hostName, "in the container's network namespace already")
    return moveOf(link, hostName, name, freeIndex(takenIndices), host)
  })
}

function checkNames(hostName: string, name: string, takenNames: ReadonlySet<string>): void {
  if (!isLinkName(hostName)) throw refusal('invalidArgument', hostName, 'not a name a device can have')
  if (isLinkNameTemplate(name)) return
  if (!isLinkName(name)) throw refusal('invalidArgument', hostName, `"${name}" is not a name a device can have`)
  if (takenNames.has(name))
    throw refusal('conflict', hostName, `"${name}" exists in the container's network namespace, expected a free name`)
}

function findLink(host: NetworkState, hostName: string): Link {
  const link = host.links.find(candidate => candidate.name === hostName || candidate.altNames.includes(hostName))
  if (link === undefined)
    throw refusal('notFound', hostName, "missing in the host's network namespace (or already moved to another one)")
  if ((link.flags & IFF_LOOPBACK) !== 0) throw refusal('invalidArgument', hostName, 'the loopback device cannot leave')
  return link
}

function isSame(a: Link, b: Link): boolean {
  return a.index === b.index && a.name === b.name && a.address?.toHex() === b.address?.toHex()
}

function freeIndex(taken: Set<number>): number {
  let index = FIRST_INDEX
  while (taken.has(index)) index++
  taken.add(index)
  return index
}

function moveOf(link: Link, hostName: string, name: string, index: number, host: NetworkState): NetDeviceMove {
  const permanent = host.addresses.filter(
    candidate => candidate.index === link.index && (candidate.address.flags & IFA_F_PERMANENT) !== 0,
  )
  return {
    // The device may have been named by an alternative name, which goes along with it.
    hostName: link.name,
    hostIndex: link.index,
    name: name === hostName ? link.name : name,
    index,
    kind: link.kind ?? null,
    mtuBytes: link.mtuBytes ?? null,
    linkAddress: link.address === undefined || link.address.length === 0 ? null : link.address.toHex(),
    up: (link.flags & IFF_UP) !== 0,
    addresses: permanent.map(({ address }) => movedAddress(address)),
  }
}

function movedAddress(address: InterfaceAddress): MovedAddress {
  return {
    local: formatIpAddress(address.local),
    prefixBits: address.prefixBits,
    peer: address.peer === undefined ? null : formatIpAddress(address.peer),
    broadcast: address.broadcast === undefined ? null : formatIpAddress(address.broadcast),
    flags: address.flags & CARRIED_FLAGS,
    scope: address.scope,
    metric: address.metric ?? null,
  }
}

function refusal(category: 'invalidArgument' | 'notFound' | 'conflict', hostName: string, state: string): BerthError {
  return new BerthError(category, `Cannot move network device "${hostName}" into the container: ${state}`)
}

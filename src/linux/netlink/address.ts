/** Addresses of interfaces. Source: rtnetlink(7), include/uapi/linux/if_addr.h. */
import { bytes, parseAttributes, u32, viewOf } from './attribute.ts'
import { AF_INET, AF_INET6, AF_UNSPEC, familyOf } from './ip-address.ts'
import {
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  type ReceivedMessage,
} from './message.ts'

export const RTM_NEWADDR = 20
export const RTM_DELADDR = 21
export const RTM_GETADDR = 22

export const IFA_ADDRESS = 1
export const IFA_LOCAL = 2
export const IFA_BROADCAST = 4
export const IFA_FLAGS = 8
export const IFA_RT_PRIORITY = 9

export const IFA_F_NODAD = 0x02
export const IFA_F_PERMANENT = 0x80
export const IFA_F_MANAGETEMPADDR = 0x100
export const IFA_F_NOPREFIXROUTE = 0x200

export const RT_SCOPE_UNIVERSE = 0
export const RT_SCOPE_LINK = 253
export const RT_SCOPE_HOST = 254

export const IFADDRMSG_BYTES = 8

/** An address an interface has, or shall have. */
export interface InterfaceAddress {
  /** The interface's own address, 4 or 16 bytes. */
  readonly local: Uint8Array
  readonly prefixBits: number
  /** The other end of a point-to-point link. */
  readonly peer?: Uint8Array
  /** IPv4 only. */
  readonly broadcast?: Uint8Array
  /** IFA_F_* */
  readonly flags: number
  /** RT_SCOPE_* */
  readonly scope: number
  /** Metric of the prefix route. */
  readonly metric?: number
}

/** What to do when the interface has the address: EEXIST, or keep it with the new settings. */
export type IfPresent = 'fail' | 'replace'

/** Adds an address to the interface of that index. IFA_F_PERMANENT need not be given: without a lifetime it is permanent. */
export function addAddress(index: number, address: InterfaceAddress, ifPresent: IfPresent = 'fail'): NetlinkMessage {
  return {
    type: RTM_NEWADDR,
    flags: NLM_F_CREATE | (ifPresent === 'fail' ? NLM_F_EXCL : NLM_F_REPLACE),
    ...addressParts(index, address),
  }
}

/** Removes an address; EADDRNOTAVAIL when the interface has it not. */
export function deleteAddress(index: number, address: InterfaceAddress): NetlinkMessage {
  return { type: RTM_DELADDR, flags: 0, ...addressParts(index, address) }
}

/** Asks for every address in the namespace, of one family or (AF_UNSPEC) all. */
export function dumpAddresses(family: number = AF_UNSPEC): NetlinkMessage {
  return { type: RTM_GETADDR, flags: NLM_F_DUMP, header: Uint8Array.of(family, 0, 0, 0, 0, 0, 0, 0), attributes: [] }
}

function addressParts(index: number, address: InterfaceAddress): Pick<NetlinkMessage, 'header' | 'attributes'> {
  const header = new Uint8Array(IFADDRMSG_BYTES)
  const view = new DataView(header.buffer)
  header[0] = familyOf(address.local)
  header[1] = address.prefixBits
  header[2] = address.flags & 0xff
  header[3] = address.scope
  view.setUint32(4, index, true)
  return {
    header,
    attributes: [
      bytes(IFA_LOCAL, address.local),
      bytes(IFA_ADDRESS, address.peer ?? address.local),
      ...(address.broadcast === undefined ? [] : [bytes(IFA_BROADCAST, address.broadcast)]),
      // The header holds 8 bits of flags only; the attribute holds all and counts when both are there.
      u32(IFA_FLAGS, address.flags),
      ...(address.metric === undefined ? [] : [u32(IFA_RT_PRIORITY, address.metric)]),
    ],
  }
}

/** An address and the interface it belongs to. */
export interface LinkAddress {
  readonly index: number
  readonly address: InterfaceAddress
}

/**
 * Reads an RTM_NEWADDR message; undefined for another family than IPv4 and IPv6.
 * @throws {RangeError} when it is too short or malformed
 */
export function parseAddress(message: ReceivedMessage): LinkAddress | undefined {
  const view = viewOf(message.payload)
  const family = view.getUint8(0)
  if (family !== AF_INET && family !== AF_INET6) return undefined
  const attributes = parseAttributes(message.payload.subarray(IFADDRMSG_BYTES))
  // IPv6 sends IFA_LOCAL only with a peer; then IFA_ADDRESS is the peer (inet6_fill_ifaddr).
  const remote = attributes.bytes(IFA_ADDRESS)
  const local = attributes.bytes(IFA_LOCAL) ?? remote
  if (local === undefined || remote === undefined) return undefined
  const broadcast = attributes.bytes(IFA_BROADCAST)
  const metric = attributes.u32(IFA_RT_PRIORITY)
  return {
    index: view.getUint32(4, true),
    address: {
      local: local.slice(),
      prefixBits: view.getUint8(1),
      ...(sameBytes(local, remote) ? {} : { peer: remote.slice() }),
      ...(broadcast === undefined ? {} : { broadcast: broadcast.slice() }),
      flags: attributes.u32(IFA_FLAGS) ?? view.getUint8(2),
      scope: view.getUint8(3),
      ...(metric === undefined ? {} : { metric }),
    },
  }
}

/** Every IPv4 and IPv6 address of a dump. */
export function parseAddresses(messages: readonly ReceivedMessage[]): LinkAddress[] {
  return messages
    .filter(message => message.type === RTM_NEWADDR)
    .map(parseAddress)
    .filter(address => address !== undefined)
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index])
}

/** Network interfaces ("links"): change, delete, read. Source: rtnetlink(7), include/uapi/linux/if_link.h, if.h. */
import { type Attribute, Attributes, bytes, nested, parseAttributes, text, u32, viewOf } from './attribute.ts'
import { type NetlinkMessage, NLM_F_DUMP, type ReceivedMessage } from './message.ts'

export const RTM_NEWLINK = 16
export const RTM_DELLINK = 17
export const RTM_GETLINK = 18

export const IFF_UP = 0x1
export const IFF_LOOPBACK = 0x8
export const IFF_RUNNING = 0x40

export const IFLA_ADDRESS = 1
export const IFLA_IFNAME = 3
export const IFLA_MTU = 4
export const IFLA_LINK = 5
export const IFLA_MASTER = 10
export const IFLA_TXQLEN = 13
export const IFLA_LINKINFO = 18
export const IFLA_NET_NS_PID = 19
export const IFLA_IFALIAS = 20
export const IFLA_NET_NS_FD = 28
export const IFLA_LINK_NETNSID = 37
/** Since kernel 5.13: the index a moved interface gets in its new namespace. */
export const IFLA_NEW_IFINDEX = 49
export const IFLA_PROP_LIST = 52
export const IFLA_ALT_IFNAME = 53

export const IFLA_INFO_KIND = 1
export const IFLA_INFO_DATA = 2

/** The index of `lo` in every network namespace (include/net/flow.h). */
export const LOOPBACK_IFINDEX = 1

export const IFINFOMSG_BYTES = 16
const NAME_LIMIT_BYTES = 15

/** An interface as one names it to the kernel. */
export type LinkReference = { readonly index: number } | { readonly name: string }

/** A network namespace only berth-init can name: that of the plan's child, or the one open in a slot (by its index). */
export type NetnsTarget = { readonly childPid: true } | { readonly slot: number }

/** What to change of an interface; what is absent stays. */
export interface LinkChange {
  readonly up?: boolean
  /**
   * Renames it; needs a reference by index, because with a name the kernel takes this for the name to look up.
   * EBUSY before Linux 6.2 while the interface is up, unless it is moved in the same message, which sets it down.
   */
  readonly newName?: string
  /** Moves it to that namespace, before the new name is given there. */
  readonly netns?: NetnsTarget
  /** Its index in the new namespace (EBUSY when taken); 0 or absent: the kernel chooses. */
  readonly newIndex?: number
  readonly mtuBytes?: number
  /** Link-layer address, 6 bytes for Ethernet. */
  readonly address?: Uint8Array
  /** Index of the bridge (or bond) it belongs to; 0: none. */
  readonly master?: number
  readonly txQueueLength?: number
  readonly alias?: string
}

/** `struct ifinfomsg`. */
export function ifinfomsg(index: number, flags = 0, change = 0): Uint8Array {
  const header = new Uint8Array(IFINFOMSG_BYTES)
  const view = new DataView(header.buffer)
  view.setInt32(4, index, true)
  view.setUint32(8, flags, true)
  view.setUint32(12, change, true)
  return header
}

/** Changes an interface. The kernel moves it first, then renames it, then sets it up. */
export function setLink(reference: LinkReference, change: LinkChange): NetlinkMessage {
  const byIndex = 'index' in reference
  if (change.newName !== undefined && !byIndex)
    throw new RangeError(`rename of link "${reference.name}" without its index`)
  const upFlags = change.up === undefined ? ifinfomsg(byIndex ? reference.index : 0) : upHeader(reference, change.up)
  const name = byIndex ? change.newName : reference.name
  return {
    type: RTM_NEWLINK,
    flags: 0,
    header: upFlags,
    attributes: [...(name === undefined ? [] : [text(IFLA_IFNAME, name)]), ...linkAttributes(change)],
  }
}

function upHeader(reference: LinkReference, up: boolean): Uint8Array {
  return ifinfomsg('index' in reference ? reference.index : 0, up ? IFF_UP : 0, IFF_UP)
}

/** The attributes of a change, except its name. */
export function linkAttributes(change: LinkChange): Attribute[] {
  const attributes: Attribute[] = []
  if (change.netns !== undefined) attributes.push(netnsAttribute(change.netns))
  if (change.newIndex !== undefined) attributes.push(u32(IFLA_NEW_IFINDEX, change.newIndex))
  if (change.mtuBytes !== undefined) attributes.push(u32(IFLA_MTU, change.mtuBytes))
  if (change.address !== undefined) attributes.push(bytes(IFLA_ADDRESS, change.address))
  if (change.master !== undefined) attributes.push(u32(IFLA_MASTER, change.master))
  if (change.txQueueLength !== undefined) attributes.push(u32(IFLA_TXQLEN, change.txQueueLength))
  if (change.alias !== undefined) attributes.push(text(IFLA_IFALIAS, change.alias))
  return attributes
}

function netnsAttribute(target: NetnsTarget): Attribute {
  return 'slot' in target
    ? { type: IFLA_NET_NS_FD, value: { patch: 'slotFd', slot: target.slot } }
    : { type: IFLA_NET_NS_PID, value: { patch: 'childPid' } }
}

/** Deletes a virtual interface; EOPNOTSUPP for a physical one. */
export function deleteLink(reference: LinkReference): NetlinkMessage {
  return { type: RTM_DELLINK, flags: 0, ...referenceParts(reference) }
}

/** Asks for one interface: ENODEV when it is not there. */
export function getLink(reference: LinkReference): NetlinkMessage {
  return { type: RTM_GETLINK, flags: 0, ...referenceParts(reference) }
}

/** Asks for every interface of the namespace. */
export function dumpLinks(): NetlinkMessage {
  return { type: RTM_GETLINK, flags: NLM_F_DUMP, header: ifinfomsg(0), attributes: [] }
}

function referenceParts(reference: LinkReference): Pick<NetlinkMessage, 'header' | 'attributes'> {
  return 'index' in reference
    ? { header: ifinfomsg(reference.index), attributes: [] }
    : { header: ifinfomsg(0), attributes: [text(IFLA_IFNAME, reference.name)] }
}

/** An interface as the kernel describes it. */
export interface Link {
  readonly index: number
  readonly name: string
  readonly altNames: readonly string[]
  /** IFF_* */
  readonly flags: number
  /** "veth", "bridge", …; undefined for a physical interface and `lo`: the kernel keeps those when their namespace ends. */
  readonly kind: string | undefined
  readonly mtuBytes: number | undefined
  /** Link-layer address. */
  readonly address: Uint8Array | undefined
  readonly master: number | undefined
  /** Index of the interface it stands on or is paired with, in the namespace numbered `peerNetnsId` or its own. */
  readonly peerIndex: number | undefined
  readonly peerNetnsId: number | undefined
}

/**
 * Reads an RTM_NEWLINK message.
 * @throws {RangeError} when it is too short or malformed
 */
export function parseLink(message: ReceivedMessage): Link {
  const view = viewOf(message.payload)
  const attributes = parseAttributes(message.payload.subarray(IFINFOMSG_BYTES))
  return {
    index: view.getInt32(4, true),
    name: attributes.text(IFLA_IFNAME) ?? '',
    altNames: (attributes.nested(IFLA_PROP_LIST) ?? new Attributes([])).texts(IFLA_ALT_IFNAME),
    flags: view.getUint32(8, true),
    kind: attributes.nested(IFLA_LINKINFO)?.text(IFLA_INFO_KIND),
    mtuBytes: attributes.u32(IFLA_MTU),
    address: attributes.bytes(IFLA_ADDRESS)?.slice(),
    master: attributes.u32(IFLA_MASTER),
    peerIndex: attributes.u32(IFLA_LINK),
    peerNetnsId: attributes.u32(IFLA_LINK_NETNSID),
  }
}

/** Every interface of a dump. */
export function parseLinks(messages: readonly ReceivedMessage[]): Link[] {
  return messages.filter(message => message.type === RTM_NEWLINK).map(parseLink)
}

/**
 * Whether the kernel takes this as an interface's name: 1 to 15 bytes, no slash, colon or white space, not "." or "..".
 * A `%` is for templates only; see {@link isLinkNameTemplate}. Source: dev_valid_name() in net/core/dev.c.
 */
export function isLinkName(name: string): boolean {
  if (name === '' || name === '.' || name === '..' || /[/:\s\0%]/.test(name)) return false
  return new TextEncoder().encode(name).length <= NAME_LIMIT_BYTES
}

/** Whether the name ends with `%d`, for which the kernel puts the first free number. Source: __dev_alloc_name(). */
export function isLinkNameTemplate(name: string): boolean {
  return name.endsWith('%d') && isLinkName(`${name.slice(0, -2)}00`)
}

/** The kind-specific part of a new link: IFLA_LINKINFO. */
export function linkInfo(kind: string, data: readonly Attribute[]): Attribute {
  const kindAttribute = text(IFLA_INFO_KIND, kind)
  return nested(IFLA_LINKINFO, data.length === 0 ? [kindAttribute] : [kindAttribute, nested(IFLA_INFO_DATA, data)])
}

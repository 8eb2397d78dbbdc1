/** Netlink messages as text, for printed plans: `RTM_NEWLINK(index 7, name "eth1", netns of fd, up)`. */
import {
  IFA_BROADCAST,
  IFA_FLAGS,
  IFA_LOCAL,
  IFADDRMSG_BYTES,
  RTM_DELADDR,
  RTM_GETADDR,
  RTM_NEWADDR,
} from './address.ts'
import { parseAttributes, viewOf } from './attribute.ts'
import { formatIpAddress } from './ip-address.ts'
import {
  IFF_UP,
  IFINFOMSG_BYTES,
  IFLA_ADDRESS,
  IFLA_IFNAME,
  IFLA_INFO_KIND,
  IFLA_LINK,
  IFLA_LINKINFO,
  IFLA_MASTER,
  IFLA_MTU,
  IFLA_NET_NS_FD,
  IFLA_NET_NS_PID,
  IFLA_NEW_IFINDEX,
  RTM_DELLINK,
  RTM_GETLINK,
  RTM_NEWLINK,
} from './link.ts'
import { NLM_F_DUMP, parseMessages, type ReceivedMessage } from './message.ts'
import { parseRoute, RTM_DELROUTE, RTM_GETROUTE, RTM_NEWROUTE } from './route.ts'

const NAMES: Readonly<Record<number, string>> = {
  [RTM_NEWLINK]: 'RTM_NEWLINK',
  [RTM_DELLINK]: 'RTM_DELLINK',
  [RTM_GETLINK]: 'RTM_GETLINK',
  [RTM_NEWADDR]: 'RTM_NEWADDR',
  [RTM_DELADDR]: 'RTM_DELADDR',
  [RTM_GETADDR]: 'RTM_GETADDR',
  [RTM_NEWROUTE]: 'RTM_NEWROUTE',
  [RTM_DELROUTE]: 'RTM_DELROUTE',
  [RTM_GETROUTE]: 'RTM_GETROUTE',
}

/**
 * Describes a batch of rtnetlink messages.
 * @throws {RangeError} when the bytes are no messages
 */
export function describeRtnetlink(messages: Uint8Array): string {
  return parseMessages(messages).map(describe).join(', ')
}

function describe(message: ReceivedMessage): string {
  const name = NAMES[message.type] ?? `message ${message.type}`
  if ((message.flags & NLM_F_DUMP) === NLM_F_DUMP && name.startsWith('RTM_GET')) return `${name}(dump)`
  return `${name}(${details(message).join(', ')})`
}

function details(message: ReceivedMessage): string[] {
  switch (message.type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
    case RTM_GETLINK:
      return linkDetails(message)
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return addressDetails(message)
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      return routeDetails(message)
    default:
      return [`${message.payload.length} bytes`]
  }
}

function linkDetails(message: ReceivedMessage): string[] {
  const view = viewOf(message.payload)
  const index = view.getInt32(4, true)
  const change = view.getUint32(12, true)
  const parts = index === 0 ? [] : [`index ${index}`]
  for (const { type, value } of parseAttributes(message.payload.subarray(IFINFOMSG_BYTES)).entries()) {
    const printed = LINK_ATTRIBUTES[type]?.(value)
    if (printed !== undefined) parts.push(printed)
  }
  if ((change & IFF_UP) !== 0) parts.push((view.getUint32(8, true) & IFF_UP) === 0 ? 'down' : 'up')
  return parts
}

const LINK_ATTRIBUTES: Readonly<Record<number, (value: Uint8Array) => string>> = {
  [IFLA_IFNAME]: value => `name "${new TextDecoder().decode(value.subarray(0, -1))}"`,
  [IFLA_MTU]: value => `mtu ${u32Of(value)}`,
  [IFLA_LINK]: value => `on ${u32Of(value)}`,
  [IFLA_MASTER]: value => `master ${u32Of(value)}`,
  [IFLA_ADDRESS]: value => `address ${Array.from(value, byte => byte.toString(16).padStart(2, '0')).join(':')}`,
  [IFLA_NET_NS_PID]: () => 'netns of child',
  [IFLA_NET_NS_FD]: () => 'netns of fd',
  [IFLA_NEW_IFINDEX]: value => `new index ${u32Of(value)}`,
  [IFLA_LINKINFO]: value => `kind ${parseAttributes(value).text(IFLA_INFO_KIND) ?? 'unknown'}`,
}

function u32Of(value: Uint8Array): number {
  return viewOf(value).getUint32(0, true)
}

function addressDetails(message: ReceivedMessage): string[] {
  const view = viewOf(message.payload)
  const attributes = parseAttributes(message.payload.subarray(IFADDRMSG_BYTES))
  const local = attributes.bytes(IFA_LOCAL)
  const broadcast = attributes.bytes(IFA_BROADCAST)
  const flags = attributes.u32(IFA_FLAGS) ?? 0
  return [
    `index ${view.getUint32(4, true)}`,
    ...(local === undefined ? [] : [`${formatIpAddress(local)}/${view.getUint8(1)}`]),
    ...(broadcast === undefined ? [] : [`broadcast ${formatIpAddress(broadcast)}`]),
    ...(flags === 0 ? [] : [`flags 0x${flags.toString(16)}`]),
  ]
}

function routeDetails(message: ReceivedMessage): string[] {
  const route = parseRoute(message)
  if (route === undefined) return [`${message.payload.length} bytes`]
  return [
    route.destination === undefined ? 'default' : `${formatIpAddress(route.destination)}/${route.prefixBits}`,
    ...(route.gateway === undefined ? [] : [`via ${formatIpAddress(route.gateway)}`]),
    ...(route.link === undefined ? [] : [`index ${route.link}`]),
  ]
}

/** Routes. Source: rtnetlink(7), ip-route(8), include/uapi/linux/rtnetlink.h. */

import { RT_SCOPE_LINK, RT_SCOPE_UNIVERSE } from './address.ts'
import { type Attribute, bytes, parseAttributes, u32, viewOf } from './attribute.ts'
import { AF_INET, AF_INET6, AF_UNSPEC } from './ip-address.ts'
import {
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  type ReceivedMessage,
} from './message.ts'

export const RTM_NEWROUTE = 24
export const RTM_DELROUTE = 25
export const RTM_GETROUTE = 26

export const RTA_DST = 1
export const RTA_OIF = 4
export const RTA_GATEWAY = 5
export const RTA_PRIORITY = 6
export const RTA_PREFSRC = 7
export const RTA_TABLE = 15

export const RT_TABLE_MAIN = 254
export const RT_TABLE_LOCAL = 255

export const RTPROT_KERNEL = 2
export const RTPROT_BOOT = 3
export const RTPROT_STATIC = 4

export const RTN_UNICAST = 1
export const RTN_LOCAL = 2
export const RTN_BLACKHOLE = 6
export const RTN_UNREACHABLE = 7

/** The next hop is on the link, whatever its address says. */
export const RTNH_F_ONLINK = 4

const RTMSG_BYTES = 12

/** A route with at most one next hop. */
export interface Route {
  readonly family: typeof AF_INET | typeof AF_INET6
  /** Absent: the default route (prefixBits 0). */
  readonly destination?: Uint8Array
  readonly prefixBits: number
  readonly gateway?: Uint8Array
  /** Index of the interface. */
  readonly link?: number
  /** The source address to prefer. */
  readonly source?: Uint8Array
  readonly metric?: number
  /** RT_TABLE_*; absent: main. */
  readonly table?: number
  /** RTN_*; absent: unicast. */
  readonly type?: number
  /** RTPROT_*: who made it; absent: static. */
  readonly protocol?: number
  /** RT_SCOPE_*; absent: link without a gateway, else universe. */
  readonly scope?: number
  readonly onLink?: boolean
}

/** Adds a route; EEXIST when it is there, unless it is to be replaced. */
export function addRoute(route: Route, ifPresent: 'fail' | 'replace' = 'fail'): NetlinkMessage {
  const flags = NLM_F_CREATE | (ifPresent === 'fail' ? NLM_F_EXCL : NLM_F_REPLACE)
  return { type: RTM_NEWROUTE, flags, ...routeParts(route) }
}

/** Deletes a route; ESRCH when it is not there. */
export function deleteRoute(route: Route): NetlinkMessage {
  return { type: RTM_DELROUTE, flags: 0, ...routeParts(route) }
}

/** Asks for the routes of all tables, of one family or (AF_UNSPEC) all. */
export function dumpRoutes(family: number = AF_UNSPEC): NetlinkMessage {
  const header = new Uint8Array(RTMSG_BYTES)
  header[0] = family
  return { type: RTM_GETROUTE, flags: NLM_F_DUMP, header, attributes: [] }
}

function routeParts(route: Route): Pick<NetlinkMessage, 'header' | 'attributes'> {
  const table = route.table ?? RT_TABLE_MAIN
  const header = new Uint8Array(RTMSG_BYTES)
  header[0] = route.family
  header[1] = route.prefixBits
  // One byte holds small table numbers only; RTA_TABLE below counts.
  header[4] = table < 256 ? table : 0
  header[5] = route.protocol ?? RTPROT_STATIC
  header[6] = route.scope ?? (route.gateway === undefined ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE)
  header[7] = route.type ?? RTN_UNICAST
  new DataView(header.buffer).setUint32(8, route.onLink === true ? RTNH_F_ONLINK : 0, true)
  const attributes: Attribute[] = [u32(RTA_TABLE, table)]
  if (route.destination !== undefined) attributes.push(bytes(RTA_DST, route.destination))
  if (route.gateway !== undefined) attributes.push(bytes(RTA_GATEWAY, route.gateway))
  if (route.link !== undefined) attributes.push(u32(RTA_OIF, route.link))
  if (route.source !== undefined) attributes.push(bytes(RTA_PREFSRC, route.source))
  if (route.metric !== undefined) attributes.push(u32(RTA_PRIORITY, route.metric))
  return { header, attributes }
}

/**
 * Reads an RTM_NEWROUTE message; undefined for another family than IPv4 and IPv6. Of several next hops none is given.
 * @throws {RangeError} when it is too short or malformed
 */
export function parseRoute(message: ReceivedMessage): Route | undefined {
  const view = viewOf(message.payload)
  const family = view.getUint8(0)
  if (family !== AF_INET && family !== AF_INET6) return undefined
  const attributes = parseAttributes(message.payload.subarray(RTMSG_BYTES))
  const optional = {
    destination: attributes.bytes(RTA_DST)?.slice(),
    gateway: attributes.bytes(RTA_GATEWAY)?.slice(),
    link: attributes.u32(RTA_OIF),
    source: attributes.bytes(RTA_PREFSRC)?.slice(),
    metric: attributes.u32(RTA_PRIORITY),
  }
  return {
    family,
    prefixBits: view.getUint8(1),
    table: attributes.u32(RTA_TABLE) ?? view.getUint8(4),
    protocol: view.getUint8(5),
    scope: view.getUint8(6),
    type: view.getUint8(7),
    onLink: (view.getUint32(8, true) & RTNH_F_ONLINK) !== 0,
    ...withoutUndefined(optional),
  }
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

function withoutUndefined<T extends object>(value: T): Present<T> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Present<T>
}

/** Every IPv4 and IPv6 route of a dump. */
export function parseRoutes(messages: readonly ReceivedMessage[]): Route[] {
  return messages
    .filter(message => message.type === RTM_NEWROUTE)
    .map(parseRoute)
    .filter(route => route !== undefined)
}

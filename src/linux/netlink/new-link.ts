/** New virtual interfaces of the kinds that container networks are made of. Source: ip-link(8), include/uapi/linux/if_link.h, veth.h. */
import { type Attribute, text, u8, u16, u32 } from './attribute.ts'
import {
  IFF_UP,
  IFLA_IFNAME,
  IFLA_LINK,
  ifinfomsg,
  type LinkChange,
  linkAttributes,
  linkInfo,
  RTM_NEWLINK,
} from './link.ts'
import { type NetlinkMessage, NLM_F_CREATE, NLM_F_EXCL } from './message.ts'

const VETH_INFO_PEER = 1

const IFLA_BR_FORWARD_DELAY = 1
const IFLA_BR_STP_STATE = 5
const IFLA_BR_VLAN_FILTERING = 7
const IFLA_BR_GROUP_FWD_MASK = 9
const IFLA_BR_MCAST_SNOOPING = 23

const IFLA_MACVLAN_MODE = 1
const MACVLAN_MODES = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const

const IFLA_IPVLAN_MODE = 1
const IFLA_IPVLAN_FLAGS = 2
const IPVLAN_MODES = { l2: 0, l3: 1, l3s: 2 } as const
const IPVLAN_FLAGS = { bridge: 0, private: 1, vepa: 2 } as const

/** What a new interface may be given besides its kind: it is made with these, so that nobody sees it without. */
export type NewLinkSettings = Omit<LinkChange, 'newName' | 'newIndex'> & {
  /** Its index; EBUSY or EEXIST when taken. Absent: the kernel chooses. */
  readonly index?: number
}

/** The other end of a veth pair. It can't be made up: the kernel says ENOTCONN, because the pair is not complete then (veth_open). */
export interface VethPeer extends Omit<NewLinkSettings, 'up'> {
  readonly name: string
}

/** What a bridge may be given; what is absent is the kernel's default. */
export interface BridgeOptions {
  readonly stp?: boolean
  /** In hundredths of a second (USER_HZ). */
  readonly forwardDelayCentiseconds?: number
  readonly vlanFiltering?: boolean
  readonly multicastSnooping?: boolean
  /** Bits of link-local groups (01:80:c2:00:00:0X) to forward. */
  readonly groupForwardMask?: number
}

/** A kind of interface with what belongs to it only. `parent` is the index of the interface it stands on. */
export type LinkKind =
  | { readonly kind: 'dummy' }
  | { readonly kind: 'veth'; readonly peer: VethPeer }
  | { readonly kind: 'bridge'; readonly options?: BridgeOptions }
  | { readonly kind: 'macvlan'; readonly parent: number; readonly mode: keyof typeof MACVLAN_MODES }
  | {
      readonly kind: 'ipvlan'
      readonly parent: number
      readonly mode: keyof typeof IPVLAN_MODES
      readonly flag?: keyof typeof IPVLAN_FLAGS
    }

/** Makes an interface; EEXIST when the name is taken. */
export function newLink(name: string, kind: LinkKind, settings: NewLinkSettings = {}): NetlinkMessage {
  return {
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    header: header(settings),
    attributes: [
      text(IFLA_IFNAME, name),
      ...('parent' in kind ? [u32(IFLA_LINK, kind.parent)] : []),
      ...linkAttributes(settings),
      linkInfo(kind.kind, kindData(kind)),
    ],
  }
}

function header(settings: NewLinkSettings): Uint8Array {
  return settings.up === true ? ifinfomsg(settings.index ?? 0, IFF_UP, IFF_UP) : ifinfomsg(settings.index ?? 0)
}

function kindData(kind: LinkKind): Attribute[] {
  switch (kind.kind) {
    case 'dummy':
      return []
    case 'veth': {
      const attributes = [text(IFLA_IFNAME, kind.peer.name), ...linkAttributes(kind.peer)]
      return [{ type: VETH_INFO_PEER, value: { header: header(kind.peer), attributes } }]
    }
    case 'bridge':
      return bridgeData(kind.options ?? {})
    case 'macvlan':
      return [u32(IFLA_MACVLAN_MODE, MACVLAN_MODES[kind.mode])]
    case 'ipvlan':
      return [
        u16(IFLA_IPVLAN_MODE, IPVLAN_MODES[kind.mode]),
        ...(kind.flag === undefined ? [] : [u16(IFLA_IPVLAN_FLAGS, IPVLAN_FLAGS[kind.flag])]),
      ]
  }
}

function bridgeData(options: BridgeOptions): Attribute[] {
  const { stp, forwardDelayCentiseconds, vlanFiltering, multicastSnooping, groupForwardMask } = options
  const data: Attribute[] = []
  if (forwardDelayCentiseconds !== undefined) data.push(u32(IFLA_BR_FORWARD_DELAY, forwardDelayCentiseconds))
  if (stp !== undefined) data.push(u32(IFLA_BR_STP_STATE, stp ? 1 : 0))
  if (vlanFiltering !== undefined) data.push(u8(IFLA_BR_VLAN_FILTERING, vlanFiltering ? 1 : 0))
  if (groupForwardMask !== undefined) data.push(u16(IFLA_BR_GROUP_FWD_MASK, groupForwardMask))
  if (multicastSnooping !== undefined) data.push(u8(IFLA_BR_MCAST_SNOOPING, multicastSnooping ? 1 : 0))
  return data
}

/**
 * Run in a scratch network namespace: sends the messages of one case through berth-init to the kernel and prints the
 * interfaces, addresses and routes that are there then, as JSON. Started by netlink.test.ts.
 */

import { runSteps } from '../../src/host/helper.ts'
import { readNetworkState } from '../../src/host/net-devices.ts'
import {
  addAddress,
  deleteAddress,
  IFA_F_NODAD,
  type InterfaceAddress,
  type LinkAddress,
  RT_SCOPE_UNIVERSE,
} from '../../src/linux/netlink/address.ts'
import { netlinkArgs } from '../../src/linux/netlink/batch.ts'
import { AF_INET, AF_INET6, formatIpAddress, parseIpAddress } from '../../src/linux/netlink/ip-address.ts'
import { deleteLink, getLink, IFF_UP, type Link, LOOPBACK_IFINDEX, setLink } from '../../src/linux/netlink/link.ts'
import { type NetlinkMessage, parseDump } from '../../src/linux/netlink/message.ts'
import { newLink } from '../../src/linux/netlink/new-link.ts'
import { addRoute, deleteRoute, dumpRoutes, parseRoutes, type Route } from '../../src/linux/netlink/route.ts'
import { step } from '../../src/plan/step.ts'

/** What is there at the end, as texts. */
export interface NetlinkObservation {
  readonly links: readonly string[]
  readonly addresses: readonly string[]
  readonly routes: readonly string[]
}

const pair = newLink(
  'v0',
  { kind: 'veth', peer: { name: 'v1', index: 53, mtuBytes: 1300, address: Uint8Array.of(2, 0, 0, 0, 0, 9) } },
  { index: 52, up: true },
)

function ip(text: string): Uint8Array {
  const bytes = parseIpAddress(text)
  if (bytes === undefined) throw new Error(`no address: ${text}`)
  return bytes
}

function address(text: string, prefixBits: number, more: Partial<InterfaceAddress> = {}): InterfaceAddress {
  return { local: ip(text), prefixBits, flags: IFA_F_NODAD, scope: RT_SCOPE_UNIVERSE, ...more }
}

const STATIC_ROUTE: Route = { family: AF_INET, prefixBits: 16, destination: ip('10.7.0.0'), gateway: ip('10.1.2.1') }

/** The messages of each case, sent in one batch. */
const CASES: Readonly<Record<string, readonly NetlinkMessage[]>> = {
  veth: [pair],
  bridge: [
    newLink('br0', { kind: 'bridge', options: { stp: false, forwardDelayCentiseconds: 200 } }, { index: 51, up: true }),
    newLink('v0', { kind: 'veth', peer: { name: 'v1' } }, { master: 51, up: true }),
  ],
  'bridge options': [
    newLink('br0', {
      kind: 'bridge',
      options: { vlanFiltering: true, multicastSnooping: false, groupForwardMask: 8 },
    }),
  ],
  dummy: [newLink('d0', { kind: 'dummy' }, { index: 60, mtuBytes: 1280, address: Uint8Array.of(2, 0, 0, 0, 0, 1) })],
  macvlan: [pair, newLink('m0', { kind: 'macvlan', parent: 52, mode: 'bridge' }, { up: true })],
  ipvlan: [pair, newLink('i0', { kind: 'ipvlan', parent: 52, mode: 'l3', flag: 'private' })],
  change: [
    pair,
    // Not in one message: the kernel renames before it sets down, and before Linux 6.2 refuses while the interface is up.
    setLink({ index: 52 }, { up: false }),
    setLink({ index: 52 }, { newName: 'renamed' }),
    setLink({ name: 'renamed' }, { mtuBytes: 1400, txQueueLength: 7, alias: 'a name for people', up: true }),
    getLink({ name: 'renamed' }),
    newLink('gone0', { kind: 'veth', peer: { name: 'gone1' } }),
    deleteLink({ name: 'gone1' }),
  ],
  addresses: [
    setLink({ index: LOOPBACK_IFINDEX }, { up: true }),
    pair,
    addAddress(52, address('10.1.2.3', 24, { broadcast: ip('10.1.2.255'), metric: 77 })),
    addAddress(52, address('10.9.9.1', 32, { peer: ip('10.9.9.2') })),
    addAddress(52, address('fd00::5', 64)),
    addAddress(52, address('fd00::5', 64), 'replace'),
    addAddress(52, address('10.1.2.4', 24)),
    deleteAddress(52, address('10.1.2.4', 24)),
  ],
  routes: [
    pair,
    setLink({ index: 53 }, { up: true }),
    addAddress(52, address('10.1.2.3', 24)),
    addAddress(52, address('fd00::5', 64)),
    addRoute({ family: AF_INET, prefixBits: 0, gateway: ip('10.1.2.1') }),
    addRoute({ family: AF_INET6, prefixBits: 64, destination: ip('fd11::'), link: 52, metric: 99, table: 1234 }),
    addRoute({
      family: AF_INET,
      prefixBits: 32,
      destination: ip('10.8.0.1'),
      gateway: ip('192.0.2.1'),
      link: 52,
      onLink: true,
    }),
    addRoute(STATIC_ROUTE),
    addRoute({ ...STATIC_ROUTE, gateway: ip('10.1.2.2') }, 'replace'),
    addRoute({ ...STATIC_ROUTE, destination: ip('10.6.0.0') }),
    deleteRoute({ ...STATIC_ROUTE, destination: ip('10.6.0.0') }),
  ],
}

async function main(name: string): Promise<NetlinkObservation> {
  const messages = CASES[name]
  if (messages === undefined) throw new Error(`no case "${name}"`)
  await runSteps([step('netlink', netlinkArgs(...messages), `send the messages of ${name}`)])
  const state = await readNetworkState(null)
  const dump = parseDump((await runSteps([step('netlink', netlinkArgs(dumpRoutes()), 'read the routes')])).data)
  // Table 255 has the kernel's own routes to local and multicast addresses.
  const routes = parseRoutes(dump.messages).filter(route => route.table !== 255)
  return {
    links: state.links.map(linkText),
    addresses: state.addresses.map(addressText),
    routes: routes.map(routeText),
  }
}

function linkText({ index, name, kind, mtuBytes, master, peerIndex, flags }: Link): string {
  const state = (flags & IFF_UP) === 0 ? 'down' : 'up'
  return [
    `${index} ${name} ${kind} ${state} mtu ${mtuBytes}`,
    ...part('master', master),
    ...part('peer', peerIndex),
  ].join(' ')
}

function addressText({ index, address }: LinkAddress): string {
  const { local, prefixBits, peer, broadcast, metric } = address
  const parts = [...part('peer', peer), ...part('broadcast', broadcast), ...part('metric', metric)]
  return [`${index} ${formatIpAddress(local)}/${prefixBits}`, ...parts].join(' ')
}

function routeText({ destination, prefixBits, gateway, link, table, metric }: Route): string {
  const to = destination === undefined ? 'default' : `${formatIpAddress(destination)}/${prefixBits}`
  return [to, ...part('via', gateway), ...part('link', link), ...part('table', table), ...part('metric', metric)].join(
    ' ',
  )
}

function part(name: string, value: number | Uint8Array | undefined): string[] {
  if (value === undefined) return []
  return [name, typeof value === 'number' ? String(value) : formatIpAddress(value)]
}

if (import.meta.main) console.log(JSON.stringify(await main(process.argv[2] ?? '')))

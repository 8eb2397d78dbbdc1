import { describe, expect, test } from 'bun:test'
import type { NetworkState } from '../host/net-devices.ts'
import { describeRtnetlink } from '../linux/netlink/describe.ts'
import { parseIpAddress } from '../linux/netlink/ip-address.ts'
import type { Link } from '../linux/netlink/link.ts'
import type { RuntimeSpec } from '../oci/runtime-spec.ts'
import { printPlan } from '../plan/print.ts'
import { hostPlan, type Step } from '../plan/step.ts'
import { composeNetDeviceReturn, composeNetwork } from './compose-network.ts'
import { type NetDeviceMove, resolveNetDevices } from './net-devices.ts'
import { PlanBuilder } from './plan-builder.ts'
import { planReturn } from './return-net-devices.ts'

const PERMANENT = 0x80
const IFF_UP = 1

function link(index: number, name: string, more: Partial<Link> = {}): Link {
  const nothing = { master: undefined, peerIndex: undefined, peerNetnsId: undefined }
  const address = Uint8Array.of(2, 0, 0, 0, 0, index)
  return { index, name, altNames: [], flags: IFF_UP, kind: undefined, mtuBytes: 1500, address, ...nothing, ...more }
}

function address(index: number, text: string, prefixBits: number, flags: number, scope = 0) {
  const local = parseIpAddress(text)
  if (local === undefined) throw new Error(text)
  return { index, address: { local, prefixBits, flags, scope } }
}

const LO = link(1, 'lo', { flags: IFF_UP | 8 })

const HOST: NetworkState = {
  links: [
    LO,
    link(2, 'eth0', { altNames: ['enp0s3'] }),
    link(3, 'veth7', { kind: 'veth' }),
    link(9, 'eth1', { flags: 0 }),
  ],
  addresses: [
    address(2, '192.0.2.2', 24, PERMANENT),
    address(3, '10.0.0.7', 24, PERMANENT),
    address(3, '10.0.0.8', 24, 0),
    address(3, '169.254.1.1', 16, PERMANENT, 253),
    address(3, 'fd00::7', 64, PERMANENT),
  ],
}

const NEW_NETWORK: RuntimeSpec = { ociVersion: '1.3.0', linux: { namespaces: [{ type: 'network' }] } }

function composed(spec: RuntimeSpec, moves: readonly NetDeviceMove[], privileged = true): PlanBuilder {
  const builder = new PlanBuilder()
  composeNetwork(builder, { spec, stateDirectory: '/run/berth/c1', facts: { privileged } }, moves)
  return builder
}

/** What the netlink steps send, in words. */
function sent(steps: readonly Step[]): string[] {
  return steps
    .filter(step => step.op === 'netlink')
    .map(step => describeRtnetlink(step.args.messages instanceof Uint8Array ? step.args.messages : new Uint8Array()))
}

describe('composeNetwork()', () => {
  test('sets lo up in a new network namespace', () => {
    const builder = composed(NEW_NETWORK, [])
    expect(printPlan(builder.finish())).toMatchInlineSnapshot(`
      "--- child ---
        0  netlink(0, <32 bytes>, <0 bytes>)  # set lo up
      "
    `)
    expect(sent(builder.child)).toEqual(['RTM_NEWLINK(index 1, up)'])
  })

  test('does nothing in the network namespace of the host, or one joined by path', () => {
    const joined: RuntimeSpec = { ociVersion: '1.3.0', linux: { namespaces: [{ type: 'network', path: '/x' }] } }
    expect(printPlan(composed(joined, []).finish())).toBe('\n')
    expect(printPlan(composed({ ociVersion: '1.3.0' }, []).finish())).toBe('\n')
  })

  test('pins the namespace, moves the devices, and gives them their permanent global addresses again', () => {
    const moves = resolveNetDevices({ veth7: { name: 'eth0' }, eth1: {} }, HOST, null)
    const builder = composed(NEW_NETWORK, moves)
    expect(printPlan(builder.finish())).toMatchInlineSnapshot(`
      "--- parent ---
        0  open_child("ns/net", O_RDONLY) = @container network namespace  # find the container's network namespace
        1  open("/run/berth/c1", O_DIRECTORY|O_PATH, 0) = @state directory  # find the state directory
        2  create_file(@state directory, "netns", 0600, "")  # make a place for the network namespace
        3  open_tree(@container network namespace, "", OPEN_TREE_CLONE|AT_EMPTY_PATH|OPEN_TREE_CLOEXEC) = @pinned network namespace  # make the network namespace mountable
        4  move_mount(@pinned network namespace, @state directory, "netns", MOVE_MOUNT_F_EMPTY_PATH)  # keep the network namespace until its devices are back on the host
        5  netlink(0, <60 bytes>, <16 bytes>)  # move veth7 into the container as eth0
        6  netlink(0, <60 bytes>, <16 bytes>)  # move eth1 into the container
        7  post(1)  # say that the network devices are there
      --- child ---
        0  netlink(0, <32 bytes>, <0 bytes>)  # set lo up
        1  await(1)  # wait for the network devices
        2  netlink(0, <152 bytes>, <0 bytes>)  # give eth0 10.0.0.7/24, fd00::7/64 again and set it up
        3  netlink(0, <32 bytes>, <0 bytes>)  # set eth1 up
      "
    `)
    expect(sent(builder.parent)).toMatchInlineSnapshot(`
      [
        "RTM_NEWLINK(index 3, name "eth0", netns of fd, new index 64)",
        "RTM_NEWLINK(index 9, name "eth1", netns of fd, new index 65)",
      ]
    `)
    expect(sent(builder.child)).toMatchInlineSnapshot(`
      [
        "RTM_NEWLINK(index 1, up)",
        "RTM_NEWADDR(index 64, 10.0.0.7/24), RTM_NEWADDR(index 64, fd00::7/64, flags 0x2), RTM_NEWLINK(index 64, up)",
        "RTM_NEWLINK(index 65, up)",
      ]
    `)
  })

  test('does not pin a namespace that was joined by path, whose owner decides about its end', () => {
    const joined: RuntimeSpec = { ociVersion: '1.3.0', linux: { namespaces: [{ type: 'network', path: '/x' }] } }
    const moves = resolveNetDevices({ eth1: {} }, HOST, { links: [LO, link(64, 'w')], addresses: [] })
    const builder = composed(joined, moves)
    expect(builder.parent.map(step => step.op)).toEqual(['open_child', 'netlink', 'post'])
    expect(sent(builder.parent)).toEqual(['RTM_NEWLINK(index 9, name "eth1", netns of fd, new index 65)'])
  })

  test("refuses devices for a container in the host's network namespace", () => {
    const moves = resolveNetDevices({ eth1: {} }, HOST, null)
    expect(() => composed({ ociVersion: '1.3.0' }, moves)).toThrow(/"eth1" into the container: it shares/)
  })

  test('refuses devices when the runtime is not privileged', () => {
    const moves = resolveNetDevices({ eth1: {} }, HOST, null)
    expect(() => composed(NEW_NETWORK, moves, false)).toThrow(/not root in the initial user namespace/)
  })
})

describe('resolveNetDevices()', () => {
  test('finds a device by an alternative name and keeps its own', () => {
    expect(resolveNetDevices({ enp0s3: {} }, HOST, null)).toMatchObject([{ hostName: 'eth0', name: 'eth0' }])
  })

  test('records what is needed to bring a device back, as plain JSON', () => {
    const [move] = resolveNetDevices({ veth7: {} }, HOST, null)
    expect(JSON.parse(JSON.stringify(move))).toEqual(move)
    expect(move).toMatchObject({ hostIndex: 3, index: 64, kind: 'veth', mtuBytes: 1500, up: true })
    expect(move?.addresses.map(each => each.local)).toEqual(['10.0.0.7', '169.254.1.1', 'fd00::7'])
  })

  const target: NetworkState = { links: [LO, link(64, 'taken', { altNames: ['also'] })], addresses: [] }

  test.each([
    ['a device that is not there', { eth9: {} }, null, /"eth9".*: missing in the host's network namespace/],
    ['the loopback device', { lo: { name: 'x' } }, null, /"lo".*loopback/],
    ['the name of the loopback device', { eth1: { name: 'lo' } }, null, /"lo" exists in the container's/],
    ['one name for two', { eth1: { name: 'x' }, eth0: { name: 'x' } }, null, /"eth0".*: "x" exists/],
    ['a name that is taken', { eth1: { name: 'taken' } }, target, /"taken" exists in the container's/],
    ['an alternative name that is taken', { eth1: { name: 'also' } }, target, /"also" exists in the container's/],
    [
      'a device that is there already',
      { eth1: { name: 'x' } },
      HOST,
      /"eth1".*: in the container's network namespace already/,
    ],
    ['a name with a slash', { eth1: { name: 'a/b' } }, null, /"a\/b" is not a name/],
    ['a host name with a space', { 'a b': {} }, null, /"a b".*not a name/],
    ['a template with %d in its middle', { eth1: { name: 'a%db' } }, null, /not a name/],
  ] as const)('refuses %s', (_, devices, into, message) => {
    expect(() => resolveNetDevices(devices, HOST, into)).toThrow(message)
  })

  test('allows a template for two devices', () => {
    const moves = resolveNetDevices({ eth0: { name: 'net%d' }, eth1: { name: 'net%d' } }, HOST, target)
    expect(moves.map(({ name, index }) => [name, index])).toEqual([
      ['net%d', 65],
      ['net%d', 66],
    ])
  })
})

describe('composeNetDeviceReturn()', () => {
  const [move] = resolveNetDevices({ veth7: { name: 'eth0' } }, HOST, null)
  if (move === undefined) throw new Error('no move')
  const current = link(64, 'eth0', { kind: 'veth', mtuBytes: 1400 })
  const inside: NetworkState = { links: [LO, current], addresses: [] }

  test('moves the device back and restores what changed', () => {
    const warnings: string[] = []
    const back = planReturn(move, inside, { links: [LO, link(2, 'eth0')], addresses: [] }, warnings)
    if (back === null) throw new Error('nothing to return')
    const steps = composeNetDeviceReturn('/run/berth/c1/netns', back)
    expect(printPlan(hostPlan(steps, 8))).toMatchInlineSnapshot(`
      "--- host ---
        0  open("/proc/self/ns/net", O_RDONLY, 0) = @host network namespace  # keep the host's network namespace
        1  open("/run/berth/c1/netns", O_RDONLY, 0) = @pinned network namespace  # find the container's network namespace
        2  setns(@pinned network namespace, CLONE_NEWNET)  # enter the container's network namespace
        3  netlink(0, <60 bytes>, <16 bytes>)  # move eth0 back to the host as veth7
        4  setns(@host network namespace, CLONE_NEWNET)  # return to the host's network namespace
        5  netlink(0, <284 bytes>, <0 bytes>)  # give veth7 its addresses and state again
      "
    `)
    expect(sent(steps)).toMatchInlineSnapshot(`
      [
        "RTM_NEWLINK(index 64, name "veth7", netns of fd, new index 3)",
        "RTM_NEWLINK(index 3, mtu 1500), RTM_NEWLINK(index 3, address 02:00:00:00:00:03), RTM_NEWADDR(index 3, 10.0.0.7/24), RTM_NEWADDR(index 3, 169.254.1.1/16), RTM_NEWADDR(index 3, fd00::7/64), RTM_NEWLINK(index 3, up)",
      ]
    `)
    expect(warnings).toEqual([])
  })

  test('takes another index and name when the old ones are in use', () => {
    const warnings: string[] = []
    const back = planReturn(move, inside, { links: [LO, link(3, 'new'), link(7, 'veth7')], addresses: [] }, warnings)
    expect(back).toMatchObject({ name: 'dev%d', index: 8 })
    expect(warnings).toEqual([expect.stringContaining('name is taken on the host')])
  })

  test('leaves a device of another kind at the same index, which the container made', () => {
    const warnings: string[] = []
    const decoy: NetworkState = { links: [LO, link(64, 'eth0', { kind: 'tun' })], addresses: [] }
    expect(planReturn(move, decoy, { links: [LO], addresses: [] }, warnings)).toBeNull()
    expect(warnings).toEqual(['network device "veth7" is gone: the container destroyed it or moved it away'])
  })

  test('says nothing about a device that is on the host', () => {
    const warnings: string[] = []
    expect(planReturn(move, { links: [LO], addresses: [] }, HOST, warnings)).toBeNull()
    expect(warnings).toEqual([])
  })
})

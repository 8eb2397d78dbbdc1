import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import {
  addAddress,
  dumpAddresses,
  type InterfaceAddress,
  parseAddress,
  RT_SCOPE_LINK,
  RT_SCOPE_UNIVERSE,
} from './address.ts'
import { NetlinkBatch, netlinkArgs } from './batch.ts'
import { describeRtnetlink } from './describe.ts'
import { AF_INET, AF_INET6 } from './ip-address.ts'
import { deleteLink, dumpLinks, isLinkName, isLinkNameTemplate, parseLink, setLink } from './link.ts'
import { type NetlinkMessage, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_REQUEST, parseDump, parseMessages } from './message.ts'
import { newLink } from './new-link.ts'
import { addRoute, deleteRoute, parseRoute } from './route.ts'

const ipBytes = (family: number): fc.Arbitrary<Uint8Array> => {
  const length = family === AF_INET ? 4 : 16
  return fc.uint8Array({ minLength: length, maxLength: length })
}

function roundTrip(message: NetlinkMessage) {
  const [received] = parseMessages(netlinkArgs(message).messages)
  if (received === undefined) throw new Error('no message')
  return received
}

describe('NetlinkBatch', () => {
  test('numbers its messages from 1 and asks to acknowledge each', () => {
    const batch = new NetlinkBatch().add(deleteLink({ name: 'a' }), deleteLink({ name: 'longer' }), dumpLinks())
    const messages = parseMessages(batch.args().messages)
    expect(messages.map(message => message.sequence)).toEqual([1, 2, 3])
    expect(messages.every(({ flags }) => (flags & (NLM_F_ACK | NLM_F_REQUEST)) === (NLM_F_ACK | NLM_F_REQUEST))).toBe(
      true,
    )
  })

  test('tells where pids and fds go', () => {
    const { messages, patches } = netlinkArgs(
      setLink({ name: 'a' }, { netns: { childPid: true } }),
      setLink({ index: 2 }, { netns: { slot: 7 } }),
    )
    const view = new DataView(patches.buffer)
    expect(patches).toHaveLength(32)
    const first = view.getUint32(0, true)
    const second = view.getUint32(16, true)
    expect([view.getUint32(4, true), view.getInt32(8, true)]).toEqual([0, -1])
    expect([view.getUint32(20, true), view.getInt32(24, true)]).toEqual([1, 7])
    // The attribute's length and type are right before the place: 8 bytes, IFLA_NET_NS_PID and IFLA_NET_NS_FD.
    expect([...messages.subarray(first - 4, first)]).toEqual([8, 0, 19, 0])
    expect([...messages.subarray(second - 4, second)]).toEqual([8, 0, 28, 0])
  })

  test("a veth's peer is made in the child's namespace by a patch inside of nested attributes", () => {
    const { messages, patches } = netlinkArgs(
      newLink('veth0', { kind: 'veth', peer: { name: 'eth0', netns: { childPid: true } } }),
    )
    const at = new DataView(patches.buffer).getUint32(0, true)
    expect([...messages.subarray(at - 4, at)]).toEqual([8, 0, 19, 0])
  })
})

describe('messages', () => {
  test('are the bytes that ip(8) sends for "link set lo up"', () => {
    expect(netlinkArgs(setLink({ index: 1 }, { up: true })).messages.toHex()).toBe(
      '20000000100005000100000000000000000000000100000001000000' + '01000000',
    )
  })

  test('describeRtnetlink() tells what each does', () => {
    const { messages } = netlinkArgs(
      newLink('br0', { kind: 'bridge', options: { stp: false } }, { up: true, mtuBytes: 1400 }),
      newLink('v0', { kind: 'veth', peer: { name: 'eth0', netns: { slot: 3 } } }, { master: 4 }),
      newLink('m0', { kind: 'macvlan', parent: 2, mode: 'bridge' }),
      newLink('i0', { kind: 'ipvlan', parent: 2, mode: 'l3', flag: 'private' }, { netns: { childPid: true } }),
      setLink({ index: 9 }, { newName: 'eth1', netns: { slot: 3 }, newIndex: 64 }),
      deleteLink({ name: 'br0' }),
      dumpAddresses(),
      addAddress(9, { local: Uint8Array.of(10, 0, 0, 2), prefixBits: 24, flags: 0, scope: 0 }),
      addRoute({ family: AF_INET, prefixBits: 0, gateway: Uint8Array.of(10, 0, 0, 1), link: 9 }),
    )
    expect(describeRtnetlink(messages).replaceAll('), ', ')\n')).toMatchInlineSnapshot(`
      "RTM_NEWLINK(name "br0", mtu 1400, kind bridge, up)
      RTM_NEWLINK(name "v0", master 4, kind veth)
      RTM_NEWLINK(name "m0", on 2, kind macvlan)
      RTM_NEWLINK(name "i0", on 2, netns of child, kind ipvlan)
      RTM_NEWLINK(index 9, name "eth1", netns of fd, new index 64)
      RTM_DELLINK(name "br0")
      RTM_GETADDR(dump)
      RTM_NEWADDR(index 9, 10.0.0.2/24)
      RTM_NEWROUTE(default, via 10.0.0.1, index 9)"
    `)
  })

  test('setLink() refuses to rename what is named by its name', () => {
    expect(() => setLink({ name: 'a' }, { newName: 'b' })).toThrow(RangeError)
  })

  test('parseAddress() gives back what addAddress() says', () => {
    const address = fc.constantFrom(AF_INET, AF_INET6).chain(family =>
      fc.record<InterfaceAddress>(
        {
          local: ipBytes(family),
          prefixBits: fc.integer({ min: 0, max: family === AF_INET ? 32 : 128 }),
          peer: ipBytes(family),
          broadcast: ipBytes(family),
          flags: fc.integer({ min: 0, max: 0xfff }),
          scope: fc.constantFrom(RT_SCOPE_UNIVERSE, RT_SCOPE_LINK),
          metric: fc.integer({ min: 0, max: 0xffff_ffff }),
        },
        { requiredKeys: ['local', 'prefixBits', 'flags', 'scope'] },
      ),
    )
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 0x7fff_ffff }), address, (index, address) => {
        fc.pre(address.peer?.toHex() !== address.local.toHex())
        expect(parseAddress(roundTrip(addAddress(index, address)))).toEqual({ index, address })
      }),
    )
  })

  test('parseRoute() gives back what addRoute() says', () => {
    const route = fc.constantFrom<2 | 10>(AF_INET, AF_INET6).chain(family =>
      fc.record(
        {
          family: fc.constant(family),
          destination: ipBytes(family),
          prefixBits: fc.integer({ min: 0, max: 32 }),
          gateway: ipBytes(family),
          source: ipBytes(family),
          link: fc.integer({ min: 1, max: 0x7fff_ffff }),
          metric: fc.integer({ min: 0, max: 0xffff_ffff }),
          table: fc.integer({ min: 1, max: 0xffff_ffff }),
          protocol: fc.integer({ min: 0, max: 255 }),
          scope: fc.integer({ min: 0, max: 255 }),
          type: fc.integer({ min: 1, max: 11 }),
          onLink: fc.boolean(),
        },
        { requiredKeys: ['family', 'prefixBits', 'table', 'protocol', 'scope', 'type', 'onLink'] },
      ),
    )
    fc.assert(
      fc.property(route, route => {
        expect(parseRoute(roundTrip(addRoute(route)))).toEqual(route)
        expect(parseRoute(roundTrip(deleteRoute(route)))).toEqual(route)
      }),
    )
  })

  test('parseLink() reads name, kind, MTU, master and parent', () => {
    const message = roundTrip(newLink('m0', { kind: 'macvlan', parent: 2, mode: 'bridge' }, { index: 5, master: 3 }))
    expect(parseLink(message)).toMatchObject({ index: 5, name: 'm0', kind: 'macvlan', peerIndex: 2, master: 3 })
  })

  test('parseMessages() throws or ends on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), value => {
        try {
          parseMessages(value)
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError)
        }
      }),
    )
  })

  test('parseDump() reports an interrupted dump', () => {
    const bytes = netlinkArgs(deleteLink({ index: 4 })).messages
    expect(parseDump([bytes, bytes])).toMatchObject({ interrupted: false, messages: [{}, {}] })
    bytes[6] = (bytes[6] ?? 0) | NLM_F_DUMP_INTR
    expect(parseDump([bytes]).interrupted).toBe(true)
  })
})

describe('names of links', () => {
  test.each(['eth0', 'a', 'fifteen-bytes-x', 'veth.12', 'ü'])('isLinkName() takes %p', name => {
    expect(isLinkName(name)).toBe(true)
  })
  test.each(['', '.', '..', 'a/b', 'a:b', 'a b', 'a\t', 'sixteen-bytes-xx', 'eth%d', 'a\0b', 'üüüüüüüü'])(
    'isLinkName() rejects %p',
    name => {
      expect(isLinkName(name)).toBe(false)
    },
  )
  test.each([
    ['eth%d', true],
    ['%d', true],
    ['eth0', false],
    ['e%dx', false],
    ['%d%d', false],
    ['a/%d', false],
  ])('isLinkNameTemplate(%p) is %p', (name, expected) => {
    expect(isLinkNameTemplate(name)).toBe(expected)
  })
})

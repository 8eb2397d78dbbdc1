/** Netlink messages against the kernel, in a scratch network namespace; see netlink-scenario.ts. */

import { test as bunTest, describe, expect } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { skippedName } from '../support/junit.ts'
import { requirement, testIf } from '../support/requirement.ts'
import type { NetlinkObservation } from './netlink-scenario.ts'

const PROGRAM = join(import.meta.dir, 'netlink-scenario.ts')
const test = testIf('root', 'command ip', 'command unshare')

/** A test for an optional part of the kernel: `ip` makes such an interface in a namespace of its own, or the test is skipped. */
function testWith(...ipLinkAdd: readonly string[]): typeof test {
  if (!requirement('root').ok) return test
  const command = ['--net', 'ip', 'link', 'add', 'probe0', ...ipLinkAdd]
  const { stderr } = spawnSync('unshare', command, { encoding: 'utf8' })
  if (!/Unknown device type|not supported/.test(stderr)) return test
  return (name, run) => bunTest.skip(skippedName(name, `needs "${ipLinkAdd.join(' ')}" in the kernel`), run)
}

async function observe(name: string): Promise<NetlinkObservation> {
  const child = Bun.spawn(['unshare', '--net', process.execPath, PROGRAM, name], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [out, diagnostics] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  expect(diagnostics).toBe('')
  const seen: NetlinkObservation = JSON.parse(out)
  // Link-local addresses and their routes come when the kernel is ready, or not in time.
  const own = (list: readonly string[]) => list.filter(each => !each.includes('fe80:'))
  return { links: seen.links, addresses: own(seen.addresses), routes: own(seen.routes) }
}

describe('the kernel takes', () => {
  test('a veth pair with its peer', async () => {
    const { links } = await observe('veth')
    expect(links.slice(1)).toEqual(['52 v0 veth up mtu 1500 peer 53', '53 v1 veth down mtu 1300 peer 52'])
  })

  test('a bridge with a port', async () => {
    const { links } = await observe('bridge')
    expect(links).toContain('51 br0 bridge up mtu 1500')
    expect(links).toContainEqual(expect.stringMatching(/^\d+ v0 veth up mtu 1500 master 51 peer \d+$/))
  })

  testWith(
    'type',
    'bridge',
    'vlan_filtering',
    '1',
    'mcast_snooping',
    '0',
  )('options of a bridge', async () => {
    expect((await observe('bridge options')).links).toContainEqual(expect.stringContaining('br0 bridge down'))
  })

  testWith('type', 'dummy')('a dummy', async () => {
    expect((await observe('dummy')).links).toContain('60 d0 dummy down mtu 1280')
  })

  testWith('type', 'ipvlan')('an ipvlan', async () => {
    expect((await observe('ipvlan')).links).toContainEqual(
      expect.stringMatching(/^\d+ i0 ipvlan down mtu 1500 peer 52$/),
    )
  })

  test('a macvlan', async () => {
    expect((await observe('macvlan')).links).toContainEqual(
      expect.stringMatching(/^\d+ m0 macvlan up mtu 1500 peer 52$/),
    )
  })

  test('renames and other changes, and deletes a pair by one of its names', async () => {
    const { links } = await observe('change')
    expect(links.slice(1)).toEqual(['52 renamed veth up mtu 1400 peer 53', '53 v1 veth down mtu 1300 peer 52'])
  })

  test('addresses of both families', async () => {
    expect((await observe('addresses')).addresses.toSorted()).toEqual([
      '1 127.0.0.1/8',
      '1 ::1/128',
      '52 10.1.2.3/24 broadcast 10.1.2.255 metric 77',
      '52 10.9.9.1/32 peer 10.9.9.2',
      '52 fd00::5/64',
    ])
  })

  test('routes of both families', async () => {
    expect((await observe('routes')).routes.toSorted()).toEqual([
      '10.1.2.0/24 link 52 table 254',
      '10.7.0.0/16 via 10.1.2.2 link 52 table 254',
      '10.8.0.1/32 via 192.0.2.1 link 52 table 254',
      'default via 10.1.2.1 link 52 table 254',
      'fd00::/64 link 52 table 254 metric 256',
      'fd11::/64 link 52 table 1234 metric 99',
    ])
  })
})

/** linux.netDevices from end to end, in scratch namespaces that stand for a host; see net-devices-scenario.ts. */

import { describe, expect } from 'bun:test'
import { join } from 'node:path'
import { testIf } from '../support/requirement.ts'
import type { IpLink, Observation, Scenario } from './net-devices-scenario.ts'

const PROGRAM = join(import.meta.dir, 'net-devices-scenario.ts')

async function observe(scenario: Scenario): Promise<Observation> {
  const command = ['unshare', '--net', '--mount', process.execPath, PROGRAM, JSON.stringify(scenario)]
  const child = Bun.spawn(command, { stdio: ['ignore', 'pipe', 'pipe'] })
  const [out, diagnostics, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  expect(diagnostics).toBe('')
  expect(status).toBe(0)
  return JSON.parse(out)
}

/** An interface as text, without link-local addresses, which the kernel makes itself. */
function text(link: IpLink): string {
  const addresses = link.addr_info
    .filter(each => !each.local.startsWith('fe80:'))
    .map(each => `${each.local}/${each.prefixlen}`)
  const state = link.flags.includes('UP') ? 'up' : 'down'
  return [`${link.ifindex}: ${link.ifname} ${state} ${link.mtu} ${link.address}`, ...addresses.toSorted()].join(' ')
}

function named(links: readonly IpLink[] | null, name: string): string | undefined {
  const found = links?.find(link => link.ifname === name)
  return found === undefined ? undefined : text(found)
}

/** The host's interfaces as they are to be found again: without the address that has a lifetime, which is not kept. */
function expectedAfter(seen: Observation): string[] {
  return seen.before.map(text).map(link => link.replace(' 10.0.0.8/24', ''))
}

const test = testIf('root', 'command ip', 'command unshare')

describe('linux.netDevices', () => {
  test('moves an interface with its permanent global addresses, renames it, sets it up, and brings it back', async () => {
    const seen = await observe({ devices: { veth7: { name: 'eth0' } } })
    expect(seen.error).toBeNull()
    expect(named(seen.inside, 'eth0')).toBe('64: eth0 up 1400 02:00:00:00:00:07 10.0.0.7/24 fd00::7/64')
    expect(named(seen.inside, 'lo')).toContain('lo up')
    expect(seen.inside).toHaveLength(2)
    expect(named(seen.during, 'veth7')).toBeUndefined()
    expect(seen.after.map(text)).toEqual(expectedAfter(seen))
    expect(seen).toMatchObject({ warnings: [], leftovers: [] })
  })

  test('does the same for a container in a user namespace', async () => {
    const seen = await observe({ devices: { veth7: { name: 'eth0' } }, userNamespace: true })
    expect(seen.error).toBeNull()
    expect(named(seen.inside, 'eth0')).toBe('64: eth0 up 1400 02:00:00:00:00:07 10.0.0.7/24 fd00::7/64')
    expect(seen.after.map(text)).toEqual(expectedAfter(seen))
    expect(seen).toMatchObject({ warnings: [], leftovers: [] })
  })

  test('addresses of a moved interface can be used at once: no duplicate address detection', async () => {
    const seen = await observe({ devices: { veth7: {} } })
    const moved = seen.inside?.find(link => link.ifname === 'veth7')?.addr_info ?? []
    expect(moved.filter(each => each.scope === 'global').map(each => each.tentative ?? false)).toEqual([false, false])
  })

  test('lets the kernel number a name that is a template', async () => {
    const seen = await observe({ devices: { veth7: { name: 'net%d' }, idle0: { name: 'net%d' } } })
    expect(seen.inside?.map(link => link.ifname)).toEqual(['lo', 'net0', 'net1'])
    expect(seen.after.map(text)).toEqual(expectedAfter(seen))
  })

  test('brings interfaces back as they were, whatever the container made of them', async () => {
    const inside =
      'ip link set eth0 down; ip link set eth0 name x mtu 1300 address 02:00:00:00:00:66; ip address flush dev x'
    const seen = await observe({ devices: { veth7: { name: 'eth0' } }, inside })
    expect(named(seen.inside, 'x')).toContain('down 1300')
    expect(seen.after.map(text)).toEqual(expectedAfter(seen))
    expect(seen.warnings).toEqual([])
  })

  test('brings interfaces back when the container can not be started', async () => {
    const seen = await observe({ devices: { veth7: {}, idle0: {} }, failExec: true })
    expect(seen.error).toMatch(/ENOENT/)
    expect(named(seen.during, 'veth7')).toBeUndefined()
    expect(seen.after.map(text)).toEqual(expectedAfter(seen))
    expect(seen.leftovers).toEqual([])
  })

  test('brings the first back when the kernel refuses to move the second', async () => {
    const seen = await observe({ devices: { veth7: {}, br0: {} } })
    expect(seen.error).toMatch(/^Cannot move br0 into the container: .*EINVAL/)
    expect(seen.after.map(text)).toEqual(expectedAfter(seen))
    expect(seen.leftovers).toEqual([])
  })

  test('brings an interface back under another name when its own is taken, and says so', async () => {
    const seen = await observe({ devices: { veth7: {} }, meanwhile: 'ip link add veth7 type veth peer name other' })
    const back = seen.after.find(link => link.ifname.startsWith('dev'))
    expect(back && text(back)).toContain('up 1400 02:00:00:00:00:07 10.0.0.7/24 169.254.7.7/16 fd00::7/64')
    expect(seen.warnings).toEqual([expect.stringContaining('comes back as dev%d')])
  })

  test('warns of an interface that the container has destroyed', async () => {
    const seen = await observe({ devices: { veth7: {} }, inside: 'ip link delete veth7' })
    expect(seen.warnings).toEqual(['network device "veth7" is gone: the container destroyed it or moved it away'])
    expect(seen.leftovers).toEqual([])
  })

  test('moves nothing when one of the interfaces is not there', async () => {
    const seen = await observe({ devices: { veth7: {}, missing0: {} } })
    expect(seen.error).toMatch(/^Cannot move network device "missing0" into the container: missing in the host's/)
    expect(seen.during).toEqual(seen.before)
  })

  test('moves nothing when a name is taken in the container', async () => {
    const seen = await observe({ devices: { veth7: { name: 'lo' } } })
    expect(seen.error).toMatch(/"lo" exists in the container's network namespace/)
    expect(seen.during).toEqual(seen.before)
  })
})

/** `linux.netDevices`: interfaces of a scratch network namespace, in which the runtime runs, move into a container. */

import { describe, expect } from 'bun:test'
import { readFileSync } from 'node:fs'
import type { Box } from './box.ts'
import { conforms } from './harness.ts'

const NEWER = 'newer than the spec of runc 1.1'
const NEEDS = ['command ip', 'command unshare'] as const

/** Two veth pairs on a host that is a network namespace of its own; what `after` says comes after the program's output. */
function onScratchHost(box: Box, after = ''): void {
  box.enclose(`exec unshare --net sh -c '
    ip link add cfa type veth peer name cfb
    ip link set cfa mtu 1400 address 02:00:00:00:00:0a up
    ip link set cfb up
    ip address add 10.9.8.7/24 dev cfa
    ip address add fd09::7/64 nodad dev cfa
    ip address add 169.254.9.9/16 scope link dev cfa
    ip link add cfc type veth peer name cfd
    "$@"; status=$?
    ${after}
    exit $status' sh "$@"`)
}

const SHOW = 'ip address show'

describe('linux.netDevices', () => {
  conforms(
    'an interface moves in, up, with its permanent global addresses and its attributes',
    async box => {
      onScratchHost(box)
      const seen = await box.see(SHOW, { linux: { netDevices: { cfa: {} } } })
      expect(seen).toMatch(/cfa@\S+ <[^>]*\bUP\b[^>]*> mtu 1400|cfa[^\n]*<[^>]*\bUP\b[^>]*> mtu 1400/)
      expect(seen).toContain('02:00:00:00:00:0a')
      expect(seen).toContain('inet 10.9.8.7/24')
      expect(seen).toContain('inet6 fd09::7/64')
      expect(seen).not.toContain('169.254.9.9')
    },
    { notOnRunc: NEWER, needs: NEEDS },
  )

  conforms(
    'an interface gets the name that netDevices gives it, and a number for %d',
    async box => {
      onScratchHost(box)
      const seen = await box.see('ls /sys/class/net', {
        linux: { netDevices: { cfa: { name: 'eth0' }, cfc: { name: 'net%d' } } },
      })
      expect(seen.split(/\s+/)).toEqual(['eth0', 'lo', 'net0'])
    },
    { notOnRunc: NEWER, needs: NEEDS },
  )

  conforms(
    'interfaces are the host’s again after delete, under their own names and with their addresses',
    async box => {
      onScratchHost(box, 'ip -brief address show cfa')
      const { stdout } = await box.run('ls /sys/class/net', { linux: { netDevices: { cfa: { name: 'eth0' } } } })
      expect(stdout).toMatch(/^eth0\s+lo\s+cfa@cfb +UP .*10\.9\.8\.7\/24/)
    },
    { notOnRunc: NEWER, needs: NEEDS },
  )

  conforms(
    'an interface that is not there, or a name that is taken or no name, is an error and nothing is moved',
    async box => {
      for (const netDevices of [
        { nosuch0: {} },
        { cfa: { name: 'lo' } },
        { cfa: { name: 'a/b' } },
        { cfa: { name: 'x' }, cfc: { name: 'x' } },
      ] as const) {
        onScratchHost(box, 'ip -brief link show cfa')
        const { status, stdout, stderr } = await box.run(['true'], { linux: { netDevices } })
        expect([status === 0, stdout]).toEqual([false, expect.stringMatching(/^cfa@cfb +UP /)])
        expect(stderr).toMatch(/nosuch0|lo|a\/b|"x"/)
      }
    },
    { notOnRunc: NEWER, needs: NEEDS },
  )

  conforms(
    'netDevices without a network namespace is an error',
    async box => {
      const linux = { netDevices: { lo: {} }, namespaces: [{ type: 'mount' }] as const }
      expect(await box.refusal(['true'], { hostname: '', linux })).toContain('linux.netDevices')
      expect(readFileSync('/proc/net/dev', 'utf8')).toContain('lo:')
    },
    { notOnRunc: NEWER },
  )
})

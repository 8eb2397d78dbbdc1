/** sysctl, personality, memory policy, annotations, and what this platform refuses. */

import { describe, expect } from 'bun:test'
import { readFileSync } from 'node:fs'
import type { Linux, MemoryPolicy } from '../../../src/oci/runtime-spec-linux.ts'
import { conforms } from './harness.ts'

const NEWER = 'newer than the spec of runc 1.1'

describe('linux.sysctl', () => {
  conforms('linux.sysctl sets parameters of the container’s own namespaces, with dots or slashes', async box => {
    const sysctl = {
      'net.ipv4.ip_forward': '1',
      'kernel.shmmni': '111',
      'fs.mqueue.msg_max': '77',
      'net/ipv4/conf/lo/forwarding': '1',
    }
    const seen = 'cd /proc/sys; cat net/ipv4/ip_forward kernel/shmmni fs/mqueue/msg_max net/ipv4/conf/lo/forwarding'
    expect(await box.see(seen, { linux: { sysctl } })).toBe('1\n111\n77\n1')
    expect(readFileSync('/proc/sys/kernel/shmmni', 'utf8').trim()).not.toBe('111')
  })

  conforms('linux.sysctl that would change the host is an error', async box => {
    const refusal = (sysctl: Record<string, string>, more: Partial<Linux> = {}) =>
      box.refusal(['true'], { hostname: '', linux: { sysctl, ...more } })
    expect(await refusal({ 'vm.swappiness': '10' })).toContain('swappiness')
    expect(await refusal({ 'net.ipv4.ip_forward': '1' }, { namespaces: [{ type: 'mount' }, { type: 'pid' }] })).toMatch(
      /net/,
    )
    expect(await refusal({ 'kernel.shmmni': '1' }, { namespaces: [{ type: 'mount' }, { type: 'pid' }] })).toMatch(
      /ipc|shmmni/,
    )
  })

  conforms('linux.sysctl with a value or name that the kernel refuses is an error', async box => {
    expect(await box.refusal(['true'], { linux: { sysctl: { 'net.ipv4.ip_forward': 'nonsense' } } })).toContain(
      'ip_forward',
    )
    expect(await box.refusal(['true'], { linux: { sysctl: { 'net.nosuch': '1' } } })).toContain('nosuch')
  })
})

describe('linux.personality', () => {
  conforms(
    'linux.personality LINUX32 makes uname -m that of a 32-bit machine',
    async box => {
      const see = (domain: 'LINUX' | 'LINUX32') => box.see(['uname', '-m'], { linux: { personality: { domain } } })
      expect(await see('LINUX32')).toMatch(/^(i686|armv8l)$/)
      expect(await see('LINUX')).toMatch(/^(x86_64|aarch64)$/)
    },
    { notOnRunc: NEWER },
  )

  conforms(
    'linux.personality of an unknown domain, or with flags, is an error',
    async box => {
      expect(await box.refusal(['true'], { linux: { personality: { domain: 'BSD' as never } } })).toContain(
        'linux.personality',
      )
      expect(await box.refusal(['true'], { linux: { personality: { domain: 'LINUX', flags: ['X'] } } })).toContain(
        'linux.personality.flags',
      )
    },
    { notOnRunc: NEWER },
  )
})

/** Policy → mode and node mask of get_mempolicy(2), whose mode carries the flags. */
const POLICIES: readonly (readonly [policy: MemoryPolicy, seen: string])[] = [
  [{ mode: 'MPOL_DEFAULT' }, 'mode=0 nodes=0'],
  [{ mode: 'MPOL_PREFERRED', nodes: '0' }, 'mode=1 nodes=1'],
  [{ mode: 'MPOL_BIND', nodes: '0' }, 'mode=2 nodes=1'],
  [{ mode: 'MPOL_INTERLEAVE', nodes: '0' }, 'mode=3 nodes=1'],
  [{ mode: 'MPOL_LOCAL' }, 'mode=4 nodes=0'],
  [{ mode: 'MPOL_PREFERRED_MANY', nodes: '0' }, 'mode=5 nodes=1'],
  [{ mode: 'MPOL_BIND', nodes: '0', flags: ['MPOL_F_STATIC_NODES'] }, `mode=${2 | (1 << 15)} nodes=1`],
  [{ mode: 'MPOL_BIND', nodes: '0', flags: ['MPOL_F_RELATIVE_NODES'] }, `mode=${2 | (1 << 14)} nodes=1`],
]

describe('linux.memoryPolicy', () => {
  conforms(
    'linux.memoryPolicy is the policy of the process, for each mode',
    async box => {
      for (const [memoryPolicy, seen] of POLICIES)
        expect(await box.see(['probe', 'mempolicy'], { linux: { memoryPolicy } })).toBe(seen)
    },
    { notOnRunc: NEWER },
  )

  conforms(
    'linux.memoryPolicy that is unknown, or whose nodes do not fit its mode, is an error',
    async box => {
      const refusal = (memoryPolicy: object) =>
        box.refusal(['true'], { linux: { memoryPolicy: memoryPolicy as MemoryPolicy } })
      expect(await refusal({ mode: 'MPOL_LUCKY' })).toContain('MPOL_LUCKY')
      expect(await refusal({ mode: 'MPOL_BIND' })).toContain('linux.memoryPolicy.nodes')
      expect(await refusal({ mode: 'MPOL_DEFAULT', nodes: '0' })).toContain('linux.memoryPolicy.nodes')
      expect(await refusal({ mode: 'MPOL_BIND', nodes: '0', flags: ['MPOL_F_HOPE'] })).toContain('MPOL_F_HOPE')
      expect(await refusal({ mode: 'MPOL_BIND', nodes: '63' })).toMatch(/set_mempolicy|nodes/)
    },
    { notOnRunc: NEWER },
  )
})

describe('annotations', () => {
  conforms('annotations are in the state, unknown ones too', async box => {
    const annotations = { 'com.example.key': 'value', 'org.opencontainers.image.stopSignal': 'SIGINT', empty: '' }
    await box.created(['true'], { annotations })
    expect((await box.state()).annotations).toMatchObject(annotations)
  })

  conforms(
    'annotations with an empty key or a value that is no text are an error',
    async box => {
      expect(await box.refusal(['true'], { annotations: { '': 'x' } })).toContain('annotations')
      expect(await box.refusal(['true'], { annotations: { key: 7 as never } })).toContain('annotations.key')
    },
    { notOnRunc: 'it takes the empty key' },
  )
})

describe('what config.json may not have', () => {
  conforms('unknown properties are a warning and otherwise ignored', async box => {
    box.write(JSON.stringify({ ...JSON.parse(box.text(['echo', 'ran'])), novelty: { a: 1 } }))
    const { status, stdout } = await box.cli(['run', box.id])
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'ran\n' })
  })

  conforms(
    'ociVersion that is none, or of another major version, is an error',
    async box => {
      expect(await box.refusal(['true'], { ociVersion: 'latest' })).toContain('ociVersion')
      expect(await box.refusal(['true'], { ociVersion: '2.0.0' })).toContain('2.0.0')
    },
    { notOnRunc: 'it does not look at it' },
  )

  conforms(
    'sections for other platforms are an error that names them',
    async box => {
      for (const platform of ['windows', 'solaris', 'vm', 'zos', 'freebsd']) {
        const section =
          platform === 'vm' ? { kernel: { path: '/kernel' } } : platform === 'windows' ? { layerFolders: ['x'] } : {}
        box.write(JSON.stringify({ ...JSON.parse(box.text(['true'])), [platform]: section }))
        const { status, stderr } = await box.create()
        expect([status === 0, stderr]).toEqual([false, expect.stringContaining(platform)])
      }
    },
    { notOnRunc: 'it ignores them' },
  )

  conforms(
    'a config that is no JSON, or has a value of the wrong kind, is an error that names the place',
    async box => {
      box.write('{"ociVersion": ')
      expect((await box.create()).stderr).toMatch(/JSON|EOF/)
      expect(await box.refusal(['true'], { process: { cwd: 7 as never } })).toMatch(/cwd/)
      expect(await box.refusal(['true'], { process: { user: { uid: -1 } } })).toMatch(/uid/)
    },
  )

  conforms(
    'linux.intelRdt is an error where no resctrl is mounted',
    async box => {
      expect(await box.refusal(['true'], { linux: { intelRdt: { closID: 'group', schemata: ['L3:0=f'] } } })).toMatch(
        /intelRdt|resctrl|RDT/i,
      )
    },
    { notOnRunc: 'it leaves it out without a word' },
  )

  conforms(
    'linux.mountLabel is an error where SELinux is not enabled',
    async box => {
      expect(await box.refusal(['true'], { linux: { mountLabel: 'system_u:object_r:x:s0' } })).toMatch(
        /SELinux|mountLabel/,
      )
    },
    { notOnRunc: 'its build for Debian ignores it' },
  )
})

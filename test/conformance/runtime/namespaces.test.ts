/** `linux.namespaces`, id mappings and time offsets, seen from inside. Source: runtime-spec › Namespaces. */

import { describe, expect } from 'bun:test'
import { readFileSync, readlinkSync } from 'node:fs'
import type { NamespaceType } from '../../../src/linux/namespaces.ts'
import type { Namespace } from '../../../src/oci/runtime-spec-linux.ts'
import type { Box } from './box.ts'
import { conforms } from './harness.ts'

/** Kind of namespace → its name in /proc/PID/ns. */
const LINKS = {
  mount: 'mnt',
  pid: 'pid',
  network: 'net',
  ipc: 'ipc',
  uts: 'uts',
  user: 'user',
  cgroup: 'cgroup',
  time: 'time',
} as const satisfies Record<NamespaceType, string>

const KINDS = Object.keys(LINKS) as readonly NamespaceType[]
const TIME = 'time namespaces came with runc 1.2'
const IDS = [{ containerID: 0, hostID: 200_000, size: 65_536 }]
/** What the default mounts need when there is a user namespace: mqueue an ipc, sysfs a network namespace of its own. */
const OWNED = fresh('mount', 'pid', 'ipc', 'network', 'user')
const SHOW = `for i in ${Object.values(LINKS).join(' ')}; do readlink /proc/self/ns/$i; done`

function ownLinks(): string[] {
  return Object.values(LINKS).map(name => readlinkSync(`/proc/self/ns/${name}`))
}

/** The kinds in which what was seen is not where we are. */
function differentKinds(seen: string): NamespaceType[] {
  const own = ownLinks()
  const links = seen.split('\n')
  return KINDS.filter((_, index) => links[index] !== own[index])
}

function fresh(...types: readonly NamespaceType[]): Namespace[] {
  return types.map(type => ({ type }))
}

describe('linux.namespaces', () => {
  conforms('each kind that is listed without a path is new, the others are the runtime’s', async box => {
    box.giveTo(200_000)
    const most = ['mount', 'pid', 'network', 'ipc', 'uts', 'cgroup'] as const
    expect(differentKinds(await box.see(SHOW, { linux: { namespaces: fresh(...most) } }))).toEqual([...most])
    const few = await box.see(SHOW, { hostname: '', linux: { namespaces: fresh('mount', 'pid') } })
    expect(differentKinds(few)).toEqual(['mount', 'pid'])
    const user = { namespaces: fresh(...most, 'user'), uidMappings: IDS, gidMappings: IDS }
    expect(differentKinds(await box.see(SHOW, { linux: user }))).toEqual(KINDS.filter(kind => kind !== 'time'))
  })

  conforms(
    'all eight kinds together are new',
    async box => {
      box.giveTo(200_000)
      const linux = { namespaces: fresh(...KINDS), uidMappings: IDS, gidMappings: IDS }
      expect(differentKinds(await box.see(SHOW, { linux }))).toEqual([...KINDS])
    },
    { notOnRunc: TIME },
  )

  conforms('the process is PID 1 of a new PID namespace and sees no other', async box => {
    expect(await box.see('echo $$; ls /proc | grep -c "^[0-9]*$"')).toMatch(/^1\n[1-4]$/)
  })

  conforms('a new network namespace has its own lo only', async box => {
    expect(await box.see('ls /sys/class/net')).toBe('lo')
  })

  conforms('a new cgroup namespace has the container’s cgroup as its root', async box => {
    const linux = { namespaces: fresh('mount', 'pid', 'network', 'ipc', 'uts', 'cgroup') }
    const paths = (await box.see(['cat', '/proc/self/cgroup'], { linux })).split('\n').map(line => line.split(':')[2])
    expect(paths.filter(path => path !== '/')).toEqual([])
    expect(await box.see(['cat', '/proc/self/cgroup'])).toContain(`/${box.id}`)
  })

  conforms('namespaces with a path are joined: pid, network, ipc, uts, cgroup', async box => {
    const kinds = ['pid', 'network', 'ipc', 'uts', 'cgroup'] as const
    const { pid } = await box.started(['sleep', '1000'], { linux: { namespaces: fresh('mount', ...kinds) } })
    const joined = kinds.map(type => ({ type, path: `/proc/${pid}/ns/${LINKS[type]}` }))
    const links = await beside(box, [...joined, { type: 'mount' }])
    for (const type of kinds) expect(links[type]).toBe(readlinkSync(`/proc/${pid}/ns/${LINKS[type]}`))
    expect(links.mount).not.toBe(readlinkSync(`/proc/${pid}/ns/mnt`))
  })

  conforms(
    'a time namespace with a path is joined, with its offsets',
    async box => {
      const linux = { namespaces: fresh('mount', 'pid', 'time'), timeOffsets: { boottime: { secs: 5_000_000n } } }
      const { pid } = await box.started(['sleep', '1000'], { hostname: '', linux })
      const links = await beside(box, [{ type: 'time', path: `/proc/${pid}/ns/time` }, { type: 'mount' }])
      expect(links.time).toBe(readlinkSync(`/proc/${pid}/ns/time`))
    },
    { notOnRunc: TIME },
  )

  conforms(
    'a user namespace with a path is joined',
    async box => {
      box.giveTo(200_000)
      const linux = { namespaces: OWNED, uidMappings: IDS, gidMappings: IDS }
      const { pid } = await box.started(['sleep', '1000'], { hostname: '', linux })
      const joined = (['user', 'ipc', 'network'] as const).map(type => ({
        type,
        path: `/proc/${pid}/ns/${LINKS[type]}`,
      }))
      const links = await beside(box, [...joined, ...fresh('mount', 'pid')])
      expect(links.user).toBe(readlinkSync(`/proc/${pid}/ns/user`))
      expect(links.uts).toBe(readlinkSync('/proc/self/ns/uts'))
    },
    { notOnRunc: 'runc 1.1 wants mappings with it' },
  )

  conforms('a path that is no namespace of its type, or not there, is an error', async box => {
    const refusal = (path: string) =>
      box.refusal(['true'], { hostname: '', linux: { namespaces: [{ type: 'mount' }, { type: 'network', path }] } })
    expect(await refusal('/proc/self/ns/uts')).not.toBe('')
    expect(await refusal('/nosuch')).toContain('/nosuch')
    expect(await refusal('relative')).not.toBe('')
  })

  conforms('one kind listed twice, and one that is unknown, is an error', async box => {
    expect(await box.refusal(['true'], { linux: { namespaces: fresh('mount', 'uts', 'pid', 'pid') } })).toMatch(/pid/)
    expect(await box.refusal(['true'], { linux: { namespaces: fresh('mount', 'uts', 'dream' as 'pid') } })).toContain(
      'dream',
    )
  })
})

describe('id mappings', () => {
  conforms('linux.uidMappings and gidMappings are the maps of the new user namespace', async box => {
    box.giveTo(200_000)
    const linux = {
      namespaces: OWNED,
      uidMappings: [
        { containerID: 0, hostID: 200_000, size: 1000 },
        { containerID: 1000, hostID: 300_000, size: 5 },
      ],
      gidMappings: [{ containerID: 0, hostID: 200_000, size: 2000 }],
    }
    const seen = await box.see(
      'cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /tmp/mine; stat -c %u /tmp/mine',
      { hostname: '', linux },
    )
    expect(seen.split('\n').map(line => line.trim().replaceAll(/ +/g, ' '))).toEqual([
      '0 200000 1000',
      '1000 300000 5',
      '0 200000 2000',
      '0',
      '0',
    ])
  })

  conforms(
    'a user namespace without mappings, or mappings without one, is an error',
    async box => {
      expect(await box.refusal(['true'], { linux: { namespaces: OWNED }, hostname: '' })).toMatch(/[mM]apping|id/)
      expect(await box.refusal(['true'], { linux: { uidMappings: IDS, gidMappings: IDS } })).toMatch(/[mM]apping/)
    },
    { notOnRunc: 'it takes them' },
  )

  conforms('process.user with an id that is not mapped is an error', async box => {
    box.giveTo(200_000)
    const linux = {
      namespaces: OWNED,
      uidMappings: [{ containerID: 0, hostID: 200_000, size: 10 }],
      gidMappings: IDS,
    }
    expect((await box.run(['true'], { hostname: '', linux, process: { user: { uid: 11, gid: 0 } } })).status).not.toBe(
      0,
    )
  })

  conforms('owners of files in the root are not changed by a mapping', async box => {
    box.giveTo(200_000)
    const linux = { namespaces: OWNED, uidMappings: IDS, gidMappings: IDS }
    expect(await box.see('stat -c %u /data /data/file', { hostname: '', linux })).toBe('0\n65534')
  })
})

describe('linux.timeOffsets', () => {
  const linux = {
    namespaces: fresh('mount', 'pid', 'time'),
    timeOffsets: { boottime: { secs: 7_000_000n, nanosecs: 5 }, monotonic: { secs: 9_000_000n } },
  }

  conforms(
    'the clocks of the container are shifted',
    async box => {
      const seen = await box.see(
        'probe clock boottime; probe clock monotonic; cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets',
        { hostname: '', linux },
      )
      const [boottime = '', monotonic = '', uptime = '', ...offsets] = seen.split('\n')
      const now = Number.parseInt(readFileSync('/proc/uptime', 'utf8'), 10)
      expect(Math.abs(Number(boottime) - now - 7_000_000)).toBeLessThan(60)
      expect(Number(monotonic)).toBeGreaterThan(9_000_000)
      expect(Number(uptime)).toBeGreaterThan(7_000_000)
      expect(offsets.map(line => line.replaceAll(/\s+/g, ' '))).toEqual(['monotonic 9000000 0', 'boottime 7000000 5'])
    },
    { notOnRunc: TIME },
  )

  conforms(
    'offsets without a new time namespace are an error',
    async box => {
      expect(await box.refusal(['true'], { hostname: '', linux: { ...linux, namespaces: fresh('mount') } })).toContain(
        'linux.timeOffsets',
      )
    },
    { notOnRunc: TIME },
  )
})

/** The links of a second container of the box, in these namespaces. */
async function beside(box: Box, namespaces: readonly Namespace[]): Promise<Record<NamespaceType, string>> {
  const id = `${box.id}b`
  box.write(
    box.spec(['sleep', '1000'], {
      hostname: '',
      linux: { namespaces, cgroupsPath: `/${id}`, maskedPaths: [], readonlyPaths: [] },
    }),
  )
  const { stderr, status } = await box.create([], id)
  if (status !== 0) throw new Error(stderr)
  const { pid } = await box.state(id)
  return Object.fromEntries(KINDS.map(kind => [kind, readlinkSync(`/proc/${pid}/ns/${LINKS[kind]}`)])) as Record<
    NamespaceType,
    string
  >
}

import { describe, expect, test } from 'bun:test'
import type { NamespaceScan } from '../host/namespaces.ts'
import type { NamespaceSighting, ProcessSighting } from '../linux/namespace-tree.ts'
import type { NamespaceType } from '../linux/namespaces.ts'
import { nsCommand } from './ns.ts'

/** Namespaces of five kinds, numbered from a base. */
function namespacesFrom(base: number): NamespaceSighting[] {
  const types: readonly NamespaceType[] = ['user', 'cgroup', 'network', 'pid', 'mount']
  return types.map((type, index) => ({ type, inode: base + index, forChildren: false }))
}

const HOST = namespacesFrom(100)
const CONTAINER = namespacesFrom(200)

function process(pid: number, comm: string, namespaces: readonly NamespaceSighting[]): ProcessSighting {
  return { pid, comm, uid: 0, isKernelThread: false, namespaces }
}

const ALL_IDS = [{ containerID: 0, hostID: 0, size: 0xffff_ffff }]
const RANGE = [{ containerID: 0, hostID: 1400000, size: 65536 }]

const SCAN: NamespaceScan = {
  processes: [process(1, 'init', HOST), process(50, 'sh\x1b[2J', CONTAINER), process(51, 'sleep', CONTAINER)],
  holders: [{ kind: 'mount', type: 'network', inode: 302, path: '/run/netns/blue', pid: 1 }],
  relations: [
    { type: 'user', inode: 100, parent: null, owner: null, ownerUid: 0 },
    { type: 'user', inode: 200, parent: 100, owner: 100, ownerUid: 0 },
    ...HOST.slice(1).map(({ type, inode }) => ({ type, inode, parent: null, owner: 100, ownerUid: null })),
    ...CONTAINER.slice(1).map(({ type, inode }) => ({
      type,
      inode,
      parent: type === 'pid' ? 103 : null,
      owner: 200,
      ownerUid: null,
    })),
    { type: 'network', inode: 302, parent: null, owner: 100, ownerUid: null },
  ],
  idMaps: new Map([
    [100, { uid: ALL_IDS, gid: ALL_IDS }],
    [200, { uid: RANGE, gid: RANGE }],
  ]),
  hiddenProcessCount: 1,
  hiddenHolderCount: 0,
  hiddenFamilyCount: 2,
  familyError: null,
}

const CONTAINER_ID = '0123456789abcdef0123456789abcdef'

async function ns(...args: string[]): Promise<string> {
  let text = ''
  const status = await nsCommand(args, piece => (text += piece), {
    scan: () => Promise.resolve(SCAN),
    containerOf: pid => (pid >= 50 ? CONTAINER_ID : undefined),
    layout: {},
  })
  expect(status).toBe(0)
  return text
}

describe('berth ns', () => {
  test('shows a line per namespace, and what it could not see', async () => {
    expect(await ns()).toMatchInlineSnapshot(`
      "NAMESPACE   TYPE      PROCESSES   OWNER   PARENT   CONTAINER      ID MAP            MEMBERS
            100   user              1                                   all               1 init
            200   user              2     100      100   0123456789ab   0=1400000+65536   50 sh\\x1b[2J, 51 sleep
            101   cgroup            1     100                                             1 init
            201   cgroup            2     200            0123456789ab                     50 sh\\x1b[2J, 51 sleep
            102   network           1     100                                             1 init
            202   network           2     200            0123456789ab                     50 sh\\x1b[2J, 51 sleep
            302   network           0     100                                             mounted at /run/netns/blue
            103   pid               1     100                                             1 init
            203   pid               2     200      103   0123456789ab                     50 sh\\x1b[2J, 51 sleep
            104   mount             1     100                                             1 init
            204   mount             2     200            0123456789ab                     50 sh\\x1b[2J, 51 sleep
      note: the namespaces of 1 process are hidden from this user
      note: owner or parent of 2 namespaces is hidden from this user
      "
    `)
  })

  test('--tree shows user namespaces nested, each with what it owns', async () => {
    expect(await ns('--tree')).toMatchInlineSnapshot(`
      "user 100  made by uid 0  ids all  1 init
      ├─ cgroup 101  1 init
      ├─ network 102  1 init
      ├─ network 302  mounted at /run/netns/blue
      ├─ pid 103  1 init
      ├─ mount 104  1 init
      └─ user 200  0123456789ab  made by uid 0  ids 0=1400000+65536  50 sh\\x1b[2J, 51 sleep
         ├─ cgroup 201  0123456789ab  50 sh\\x1b[2J, 51 sleep
         ├─ network 202  0123456789ab  50 sh\\x1b[2J, 51 sleep
         ├─ pid 203  0123456789ab  50 sh\\x1b[2J, 51 sleep
         └─ mount 204  0123456789ab  50 sh\\x1b[2J, 51 sleep

      pid 103  1 init
      └─ pid 203  0123456789ab  50 sh\\x1b[2J, 51 sleep
      note: the namespaces of 1 process are hidden from this user
      note: owner or parent of 2 namespaces is hidden from this user
      "
    `)
  })

  test('--json has everything, ids as numbers', async () => {
    const { namespaces, hidden } = JSON.parse(await ns('--json', '--type', 'user'))
    expect(namespaces).toHaveLength(2)
    expect(namespaces[1]).toMatchObject({ inode: 200, parent: 100, uidMappings: RANGE, containers: [CONTAINER_ID] })
    expect(namespaces[1].processes.map((each: ProcessSighting) => each.pid)).toEqual([50, 51])
    expect(hidden).toEqual({ processes: 1, holders: 0, families: 2, familyError: null })
  })

  test("--type takes the spec's names, the kernel's, and lists of them", async () => {
    for (const args of [
      ['--type', 'network,mount'],
      ['-t', 'net', '-t', 'mnt'],
    ]) {
      const lines = (await ns(...args)).split('\n').filter(line => /^ *\d/.test(line))
      expect(lines.map(line => line.trim().split(/\s+/)[1])).toEqual([
        'network',
        'network',
        'network',
        'mount',
        'mount',
      ])
    }
  })

  test('PID shows the namespaces of that process only', async () => {
    const lines = (await ns('50')).split('\n').filter(line => /^ *\d/.test(line))
    expect(lines.map(line => Number(line.trim().split(/\s+/)[0]))).toEqual([200, 201, 202, 203, 204])
  })

  test('--tree with a PID adds the namespaces around it', async () => {
    const text = await ns('--tree', '--type', 'network', '50')
    expect(
      text
        .split('\n')
        .filter(line => /\d{3} /.test(line))
        .map(line => /\d{3}/.exec(line)?.[0]),
    ).toEqual(['100', '200', '202'])
  })

  test('--help shows how it is used', async () => {
    expect(await ns('--help')).toContain('Usage: berth ns')
  })

  test.each([
    [['--type', 'nat'], /type "nat": expected one of user, cgroup/],
    [['--frob'], /Unknown option '--frob'/],
    [['abc'], /"abc": expected a process id/],
    [['0'], /"0": expected a process id/],
    [['1', '2'], /argument "2": expected at most one PID/],
    [['--tree', '--json'], /"--tree" with "--json"/],
    [['99'], /process "99": no such process, or it is hidden/],
  ])('refuses %p', (args, message) => {
    expect(ns(...args)).rejects.toThrow(message)
  })
})

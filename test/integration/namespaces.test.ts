/** `berth ns` on real namespaces: what scanNamespaces() sees of processes that unshare(1) puts into new ones. */

import { afterEach, describe, expect } from 'bun:test'
import { mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readNamespaceRelations } from '../../src/host/namespace-relations.ts'
import { scanNamespaces } from '../../src/host/namespaces.ts'
import { groupNamespaces, type Namespace } from '../../src/linux/namespace-tree.ts'
import { NAMESPACES, type NamespaceType, namespaceOfType, parseNamespaceLink } from '../../src/linux/namespaces.ts'
import { testIf } from '../support/requirement.ts'

const DEADLINE_MS = 10_000
const POLL_MS = 20

const test = testIf('root', 'command unshare', 'command nsenter')
const started: Bun.Subprocess[] = []

function start(...command: string[]): Bun.Subprocess {
  const child = Bun.spawn(command, { stdio: ['ignore', 'ignore', 'inherit'] })
  started.push(child)
  return child
}

afterEach(async () => {
  for (const child of started.splice(0)) {
    child.kill('SIGKILL')
    await child.exited
  }
})

function ownInode(type: NamespaceType): number | undefined {
  return parseNamespaceLink(readlinkSync(`/proc/self/ns/${namespaceOfType(type)?.procName}`))?.inode
}

/** Scans until something is seen, and gives it with everything else. */
async function seen(find: (all: readonly Namespace[]) => Namespace | undefined): Promise<[Namespace, Namespace[]]> {
  const deadline = performance.now() + DEADLINE_MS
  for (;;) {
    const all = groupNamespaces(await scanNamespaces())
    const found = find(all)
    if (found !== undefined) return [found, all]
    if (performance.now() > deadline) throw new Error(`not seen in ${all.length} namespaces`)
    await Bun.sleep(POLL_MS)
  }
}

describe('scanNamespaces()', () => {
  test('sees a process in new namespaces of all eight kinds, their owner, parents and id maps', async () => {
    const kinds = ['--cgroup', '--ipc', '--uts', '--net', '--pid', '--time', '--mount']
    const mapped = ['--user', '--map-root-user']
    const child = start('unshare', ...mapped, ...kinds, '--fork', '--kill-child', 'sleep', 'infinity')
    // unshare(1) is in the new user namespace itself; what it forks is in all of them.
    const find = (all: readonly Namespace[]) => {
      const user = all.find(each => each.type === 'user' && each.members.some(member => member.pid === child.pid))
      return all.find(each => each.type === 'pid' && each.owner === user?.inode && each.members[0]?.comm === 'sleep')
    }
    const [pid, all] = await seen(find)
    expect(pid.parent).toBe(ownInode('pid') ?? null)
    const member = pid.members[0]?.pid
    const inhabited = all.filter(each => each.members.some(other => other.pid === member))
    expect(inhabited.map(each => each.type)).toEqual(NAMESPACES.map(kind => kind.type))
    const user = inhabited.find(each => each.type === 'user')
    expect(user).toMatchObject({ parent: ownInode('user'), owner: ownInode('user'), ownerUid: 0 })
    expect(user?.idMaps?.uid).toEqual([{ containerID: 0, hostID: 0, size: 1 }])
    expect(inhabited.filter(each => each.type !== 'user').every(each => each.owner === user?.inode)).toBe(true)
  })

  test('sees a namespace that only a bind mount keeps, in a mount namespace of its own', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'berth-ns-'))
    try {
      const file = join(directory, 'net')
      writeFileSync(file, '')
      start('unshare', '--mount', 'sh', '-c', `unshare --net=${file} true; exec sleep infinity`)
      const [network] = await seen(all => all.find(each => each.mounts.includes(file)))
      expect(network).toMatchObject({ type: 'network', members: [], owner: ownInode('user') })
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  test('sees a namespace that only an open file keeps', async () => {
    const script = 'exec 9</proc/self/ns/ipc; exec nsenter --ipc=/proc/$PPID/ns/ipc sleep infinity'
    const child = start('unshare', '--ipc', 'sh', '-c', script)
    const [ipc] = await seen(all =>
      all.find(each => each.members.length === 0 && each.fds.some(fd => fd.pid === child.pid)),
    )
    expect(ipc).toMatchObject({ type: 'ipc', fds: [{ pid: child.pid, fd: 9 }], owner: ownInode('user') })
  })

  test('tells the namespace of future children from that of the process', async () => {
    const child = start('unshare', '--time', '--fork', '--kill-child', 'sleep', 'infinity')
    const isNext = (each: Namespace) => each.waitingMembers.some(member => member.pid === child.pid)
    const [time] = await seen(all => all.find(each => isNext(each) && each.members.length === 1))
    expect(time).toMatchObject({ type: 'time', owner: ownInode('user'), members: [{ uid: 0 }] })
    expect(time.members[0]?.pid).not.toBe(child.pid)
  })
})

describe('readNamespaceRelations()', () => {
  test('asks namespaces only, whatever else is at a path by then, and neither blocks nor acts on it', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'berth-ns-'))
    try {
      const fifo = join(directory, 'fifo')
      expect(Bun.spawnSync(['mkfifo', fifo]).exitCode).toBe(0)
      const family = await readNamespaceRelations(['/dev/null', fifo, '/nonexistent', '/proc/self/ns/uts', directory])
      expect(family.relations).toMatchObject([{ type: 'uts', inode: ownInode('uts'), owner: ownInode('user') }])
      expect(family).toMatchObject({ hiddenCount: 4, error: null })
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})

import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NO_CGROUP, specOf } from '../../test/support/composed-container.ts'
import { processIdentity } from '../host/process-identity.ts'
import { BerthError } from '../lib/error.ts'
import { type ContainerRecord, containerIds, StateDirectory } from './state-directory.ts'

const spec = specOf({ root: { path: 'rootfs' } })
const BUNDLE = { spec, configText: JSON.stringify(spec) }
/** No process has this one: a pid is at most 2^22. */
const DEAD = { pid: 2 ** 30, startTicks: 1 }
const TRACES = { cgroup: NO_CGROUP.location, netDevices: [], launcher: DEAD }

let root = ''
beforeEach(() => {
  root = join(mkdtempSync(join(tmpdir(), 'berth-state-')), 'run')
})
afterEach(() => rmSync(join(root, '..'), { recursive: true }))

function claimed(id: string): StateDirectory {
  const directory = new StateDirectory(root, id)
  directory.claim(BUNDLE)
  return directory
}

function record(): ContainerRecord {
  return {
    id: 'c1',
    bundle: '/bundle',
    process: DEAD,
    created: '2024-01-01T00:00:00Z',
    root: '/bundle/rootfs',
    owner: 0,
    ownerName: 'root',
    cgroup: NO_CGROUP.location,
    netDevices: [],
    afterStart: { first: 0, steps: [], program: '' },
  }
}

describe('StateDirectory.claim()', () => {
  test('claims an id whole, for the owner only, and leaves nothing beside it', () => {
    const directory = claimed('c1')
    expect(statSync(directory.path).mode & 0o777).toBe(0o700)
    expect(readdirSync(directory.path).sort()).toEqual(['config.json', 'creator'])
    expect(statSync(join(directory.path, 'config.json')).mode & 0o777).toBe(0o600)
    expect(readdirSync(join(root, '~'))).toEqual([])
  })

  test('refuses an id that is taken, whatever is left of it', () => {
    claimed('c1')
    expect(() => claimed('c1')).toThrow(
      new BerthError('conflict', 'Cannot create container "c1": a container with this id exists'),
    )
    expect(readdirSync(join(root, '~'))).toEqual([])
  })

  test('removes what a creator of the same id has left that died before it had claimed it, and no other', () => {
    const remains = ['c1~1073741824~1', 'c2~1073741824~1']
    for (const name of remains) mkdirSync(join(root, '~', name), { recursive: true })
    claimed('c1')
    expect(readdirSync(join(root, '~'))).toEqual(['c2~1073741824~1'])
  })

  test('says so where the root is no directory', () => {
    writeFileSync(root, '')
    expect(() => claimed('c1')).toThrow('Cannot create container "c1": ')
  })
})

describe('StateDirectory', () => {
  test('is being created as long as its creator lives, and complete when told so', () => {
    const directory = claimed('c1')
    expect([directory.isBeingCreated(), directory.isLeftover()]).toEqual([true, false])
    directory.complete()
    expect([directory.isBeingCreated(), directory.isLeftover(), directory.exists()]).toEqual([false, false, true])
  })

  test('is a leftover when its creator is dead', () => {
    const directory = claimed('c1')
    writeFileSync(join(directory.path, 'creator'), JSON.stringify(DEAD))
    expect([directory.isBeingCreated(), directory.isLeftover()]).toEqual([false, true])
  })

  test('is a leftover when another process has got the pid of its creator', () => {
    const directory = claimed('c1')
    const own = processIdentity(process.pid)
    writeFileSync(join(directory.path, 'creator'), JSON.stringify({ ...own, startTicks: 1 }))
    expect(directory.isLeftover()).toBe(true)
  })

  test('knows what a creation may have left outside only once that was noted', () => {
    const directory = claimed('c1')
    expect(directory.traces()).toBeNull()
    directory.note(TRACES)
    expect(directory.traces()).toEqual(TRACES)
    expect(directory.isBeingCreated()).toBe(true)
    directory.complete()
    expect(directory.traces()).toBeNull()
  })

  test('notes nothing for a container that is complete', () => {
    const directory = claimed('c1')
    directory.complete()
    directory.note(TRACES)
    expect(readdirSync(directory.path)).toEqual(['config.json'])
  })

  test('gives back the record and the config to a process that comes later', () => {
    const directory = claimed('c1')
    const later = new StateDirectory(root, 'c1')
    expect(later.record()).toBeNull()
    directory.save(record())
    expect(later.record()).toEqual(record())
    expect(later.spec()).toEqual(spec)
    expect(readdirSync(directory.path)).not.toContain('state.json.tmp')
  })

  test('says which file it cannot read', () => {
    const directory = claimed('c1')
    writeFileSync(join(directory.path, 'state.json'), '{')
    expect(() => directory.record()).toThrow(`Cannot read "${directory.path}/state.json": `)
  })

  test('waits for start as long as the socket is there', () => {
    const directory = claimed('c1')
    expect(directory.waitsForStart()).toBe(false)
    writeFileSync(directory.startSocket, '')
    expect(directory.waitsForStart()).toBe(true)
    directory.started()
    directory.started()
    expect(directory.waitsForStart()).toBe(false)
  })

  test('is removed with all in it, however often', () => {
    const directory = claimed('c1')
    mkdirSync(join(directory.path, 'more/less'), { recursive: true })
    directory.remove()
    directory.remove()
    expect(existsSync(directory.path)).toBe(false)
  })
})

describe('containerIds()', () => {
  test('lists what is claimed, sorted, and nothing else', () => {
    for (const id of ['b', 'a']) claimed(id)
    mkdirSync(join(root, 'foreign'))
    expect(containerIds(root)).toEqual(['a', 'b'])
  })

  test('is empty where nothing was ever made', () => expect(containerIds(root)).toEqual([]))

  test('says so where the root is no directory', () => {
    writeFileSync(root, '')
    expect(() => containerIds(root)).toThrow(`Cannot list containers in "${root}": `)
  })
})

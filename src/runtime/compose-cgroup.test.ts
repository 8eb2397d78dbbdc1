import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import type { CgroupHierarchy, CgroupLayout } from '../host/cgroup/layout.ts'
import { resolveCgroupPath } from '../host/cgroup/location.ts'
import type { LinuxResources } from '../linux/cgroup/resources.ts'
import { SlotTable } from '../plan/slots.ts'
import type { Step } from '../plan/step.ts'
import { composeCgroup, composeCgroupJoin } from './compose-cgroup.ts'

let root = ''
beforeEach(() => {
  root = mkdtempSync(`${tmpdir()}/berth-cgroup-`)
  for (const name of ['cpuset', 'devices', 'unified']) mkdirSync(`${root}/${name}`)
  writeFileSync(`${root}/cpuset/cpuset.cpus`, '0-1\n')
  writeFileSync(`${root}/cpuset/cpuset.mems`, '0\n')
  writeFileSync(`${root}/unified/cgroup.controllers`, 'cpu memory pids\n')
  writeFileSync(`${root}/unified/cgroup.subtree_control`, 'cpu\n')
})
afterEach(() => rmSync(root, { recursive: true }))

function hierarchy(version: 1 | 2, name: string, controllers: readonly string[]): CgroupHierarchy {
  return { version, controllers, mountPoint: `${root}/${name}`, root: '/', own: '/' }
}

function v1(): CgroupLayout {
  return { mode: 'v1', hierarchies: [hierarchy(1, 'cpuset', ['cpuset']), hierarchy(1, 'devices', ['devices', 'pids'])] }
}

function v2(): CgroupLayout {
  return { mode: 'v2', hierarchies: [hierarchy(2, 'unified', ['cpu', 'memory', 'pids'])] }
}

function print(steps: readonly Step[]): string {
  return steps
    .map(({ op, args, tolerate, skipOnSuccess }) => {
      const words = Object.values(args).flatMap(value => {
        if (typeof value === 'string') return [value.replace(root, '').replace('\n', '\\n')]
        if (value instanceof Uint8Array) return [`<${value.length / 8} instructions>`]
        return typeof value === 'object' && value !== null && 'name' in value ? [`{${String(value.name)}}`] : []
      })
      const flow = [
        tolerate === undefined || tolerate.length === 0 ? '' : ` ?${tolerate}`,
        skipOnSuccess ? ` +${skipOnSuccess}` : '',
      ]
      return `${op} ${words.join(' ')}${flow.join('')}`
    })
    .join('\n')
}

function compose(layout: CgroupLayout, resources: LinuxResources, path = '/berth/x') {
  const location = resolveCgroupPath(layout, path, 'x', 'cgroupfs')
  return composeCgroup({ location, resources, slots: new SlotTable(), privileged: true })
}

describe('composeCgroup()', () => {
  test('on v2 makes and fills the cgroup, and clone3 puts the child in', () => {
    const { host, child, undo, cloneInto, unshareInChild } = compose(v2(), { pids: { limit: 5 } })
    expect(print(host)).toMatchInlineSnapshot(`
      "write /unified/cgroup.subtree_control +memory +pids ?all +2
      write /unified/cgroup.subtree_control +memory ?all
      write /unified/cgroup.subtree_control +pids
      mkdir /unified/berth ?17
      write /unified/berth/cgroup.subtree_control +cpu +memory +pids ?all +3
      write /unified/berth/cgroup.subtree_control +cpu ?all
      write /unified/berth/cgroup.subtree_control +memory ?all
      write /unified/berth/cgroup.subtree_control +pids
      mkdir /unified/berth/x
      write /unified/berth/x/memory.oom.group 1 ?2
      write /unified/berth/x/pids.max 5
      open /unified/berth/x {cgroup}
      bpf_device <80 instructions> {cgroup}"
    `)
    expect(print(undo)).toBe('unlink /unified/berth/x\nunlink /unified/berth')
    expect(child).toEqual([])
    expect(cloneInto?.name).toBe('cgroup')
    expect(unshareInChild).toBe(false)
  })

  test('on v1 fills parents without CPUs, and the child joins by itself', () => {
    mkdirSync(`${root}/cpuset/berth`)
    writeFileSync(`${root}/cpuset/berth/cpuset.cpus`, '1\n')
    writeFileSync(`${root}/cpuset/berth/cpuset.mems`, '\n')
    const { host, child, undo, cloneInto, unshareInChild } = compose(v1(), { pids: { limit: 5 }, cpu: { cpus: '1' } })
    expect(print(host)).toMatchInlineSnapshot(`
      "write /cpuset/berth/cpuset.mems 0
      mkdir /cpuset/berth/x
      write /cpuset/berth/x/cpuset.mems 0
      write /cpuset/berth/x/cpuset.cpus 1
      open /cpuset/berth/x/tasks {tasks of cpuset}
      mkdir /devices/berth ?17
      mkdir /devices/berth/x
      write /devices/berth/x/pids.max 5
      write /devices/berth/x/devices.deny a
      write /devices/berth/x/devices.allow b *:* m
      write /devices/berth/x/devices.allow c *:* m
      write /devices/berth/x/devices.allow c 1:3 rwm
      write /devices/berth/x/devices.allow c 1:5 rwm
      write /devices/berth/x/devices.allow c 1:7 rwm
      write /devices/berth/x/devices.allow c 1:8 rwm
      write /devices/berth/x/devices.allow c 1:9 rwm
      write /devices/berth/x/devices.allow c 5:0 rwm
      write /devices/berth/x/devices.allow c 5:1 rwm
      write /devices/berth/x/devices.allow c 5:2 rwm
      write /devices/berth/x/devices.allow c 136:* rwm
      open /devices/berth/x/tasks {tasks of devices,pids}"
    `)
    expect(print(child)).toBe('write_fd {tasks of cpuset} 0\nwrite_fd {tasks of devices,pids} 0')
    expect(print(undo)).toBe('unlink /cpuset/berth/x\nunlink /devices/berth/x\nunlink /devices/berth')
    expect(cloneInto).toBeNull()
    expect(unshareInChild).toBe(true)
  })

  test('loads no device filter when everything is allowed', () => {
    const { host } = compose(v2(), { devices: [{ allow: true }] })
    expect(host.some(({ op }) => op === 'bpf_device')).toBe(false)
  })

  test('refuses a cgroup with processes, naming them, and a frozen one', () => {
    mkdirSync(`${root}/unified/x`)
    writeFileSync(`${root}/unified/x/cgroup.procs`, '41\n42\n')
    expect(() => compose(v2(), {}, '/x')).toThrow('processes 41, 42 are in it, expected none')
    writeFileSync(`${root}/unified/x/cgroup.procs`, '')
    writeFileSync(`${root}/unified/x/cgroup.freeze`, '1\n')
    expect(() => compose(v2(), {}, '/x')).toThrow('it is frozen')
  })

  test('uses an empty cgroup that is there, and leaves it there', () => {
    mkdirSync(`${root}/unified/x`)
    const { host, undo } = compose(v2(), {}, '/x')
    expect(host.some(({ op }) => op === 'mkdir')).toBe(false)
    expect(undo).toEqual([])
  })

  test('refuses a limit whose controller the host lacks', () => {
    expect(() => compose(v2(), { rdma: { a: { hcaHandles: 1 } } })).toThrow(
      'no cgroup hierarchy of the host has the controller rdma',
    )
    expect(() => compose(v1(), { memory: { limit: 1 } })).toThrow('has the controller memory')
  })

  test('leaves systemd to TypeScript, but refuses what can not be set at once', () => {
    const location = resolveCgroupPath(v2(), 'a.slice:p:x', 'x', 'systemd')
    const input = { location, resources: {}, slots: new SlotTable(), privileged: true }
    expect(composeCgroup(input)).toMatchObject({ host: [], viaSystemd: true, unshareInChild: true, cloneInto: null })
    expect(() => composeCgroup({ ...input, resources: { memory: { swappiness: 1 } } })).toThrow('swappiness')
    mkdirSync(`${root}/unified/a.slice/p-x.scope`, { recursive: true })
    writeFileSync(`${root}/unified/a.slice/p-x.scope/cgroup.procs`, '7\n')
    expect(() => composeCgroup(input)).toThrow('processes 7 are in it')
  })

  test('gives the cgroup to its owner', () => {
    const location = resolveCgroupPath(v2(), '/x', 'x', 'cgroupfs')
    const input = { location, resources: {}, slots: new SlotTable(), privileged: true, ownerUid: 1_400_000 }
    const chowned = composeCgroup(input).host.filter(({ op }) => op === 'chown')
    expect(print(chowned.slice(0, 2))).toBe('chown /unified/x\nchown /unified/x/cgroup.procs ?2')
  })
})

describe('composeCgroupJoin()', () => {
  test('joins every hierarchy, with a path below the container for one or all', () => {
    const location = resolveCgroupPath(v1(), '/x', 'x', 'cgroupfs')
    const join = (subPaths: readonly string[]) =>
      print(composeCgroupJoin({ location, slots: new SlotTable(), subPaths }).host)
    expect(join([])).toBe('open /cpuset/x/tasks {tasks of cpuset}\nopen /devices/x/tasks {tasks of devices,pids}')
    expect(join(['sub'])).toContain('/cpuset/x/sub/tasks')
    expect(join(['pids:a'])).toBe(
      'open /cpuset/x/tasks {tasks of cpuset}\nopen /devices/x/a/tasks {tasks of devices,pids}',
    )
    expect(() => join(['../y'])).toThrow('holds ".."')
  })
  test('opens the directory for clone3 on v2', () => {
    const location = resolveCgroupPath(v2(), '/x', 'x', 'cgroupfs')
    const composed = composeCgroupJoin({ location, slots: new SlotTable(), subPaths: ['/sub/'] })
    expect(print(composed.host)).toBe('open /unified/x/sub {cgroup}')
    expect(composed.child).toEqual([])
    expect(() => composeCgroupJoin({ location, slots: new SlotTable(), subPaths: ['cpu:a'] })).toThrow(
      'one path for all',
    )
  })
})

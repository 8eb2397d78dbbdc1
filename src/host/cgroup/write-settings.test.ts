import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { setting } from '../../linux/cgroup/setting.ts'
import { restoreOf, writeSettings } from './write-settings.ts'

const dir = mkdtempSync(`${tmpdir()}/berth-settings-`)
afterAll(() => rmSync(dir, { recursive: true }))
const hierarchy = { version: 2, controllers: ['cpu', 'pids', 'io'], mountPoint: dir, root: '/', own: '/' } as const
const location = { manager: 'cgroupfs', directories: [{ hierarchy, dir }] } as const

describe('restoreOf()', () => {
  const cases: readonly [file: string, written: string, text: string, restore: unknown][] = [
    ['pids.max', '5', 'max\n', { file: 'pids.max', value: 'max' }],
    ['cpu.max', '1 2', 'max 100000\n', { file: 'cpu.max', value: 'max 100000' }],
    ['cpuset.cpus', '0', '\n', { file: 'cpuset.cpus', value: '' }],
    ['io.max', '8:0 rbps=1', '', { file: 'io.max', value: '8:0 rbps=max wbps=max riops=max wiops=max' }],
    ['io.max', '8:0 rbps=1', '8:0 rbps=9 wbps=max\n', { file: 'io.max', value: '8:0 rbps=9 wbps=max' }],
    ['io.weight', '5', 'default 100\n8:0 7\n', { file: 'io.weight', value: 'default 100' }],
    ['io.weight', '8:0 5', 'default 100\n', { file: 'io.weight', value: '8:0 default' }],
    ['blkio.throttle.read_bps_device', '8:0 5', '', { file: 'blkio.throttle.read_bps_device', value: '8:0 0' }],
    ['memory.oom_control', '1', 'oom_kill_disable 0\nunder_oom 0\n', { file: 'memory.oom_control', value: '0' }],
    ['devices.allow', 'c 1:3 r', '', { file: 'devices.deny', value: 'c 1:3 r' }],
    ['devices.deny', 'a', '', null],
  ]
  for (const [file, written, text, restore] of cases) {
    test(`knows how ${file} ${JSON.stringify(text)} comes back`, () =>
      expect(restoreOf(file, written, text)).toEqual(restore as null))
  }
})

describe('writeSettings()', () => {
  test('sets back what was written when a later write fails', () => {
    writeFileSync(`${dir}/pids.max`, 'max')
    const settings = [setting('pids', 'pids.max', 555, 'x'), setting('cpu', 'cpu.weight', 5, 'x')]
    expect(() => writeSettings(location, settings)).toThrow('cpu.weight": ENOENT, no such file: the kernel lacks it')
    expect(readFileSync(`${dir}/pids.max`, 'utf8')).toBe('max')
  })
  test('writes the alternative where the file is not there, and passes over what is tolerated', () => {
    writeFileSync(`${dir}/io.weight`, 'default 100')
    const orElse = { file: 'io.weight', value: '77' }
    const settings = [
      setting('io', 'io.bfq.weight', 5, 'x', { orElse }),
      setting('cpu', 'cpu.nothing', 5, 'x', { tolerate: [2] }),
    ]
    const undo = writeSettings(location, settings)
    expect(readFileSync(`${dir}/io.weight`, 'utf8')).toStartWith('77')
    expect(undo()).toEqual([])
    expect(readFileSync(`${dir}/io.weight`, 'utf8')).toStartWith('default 100')
  })
  test('names a controller that no hierarchy has', () => {
    expect(() => writeSettings(location, [setting('rdma', 'rdma.max', 'x', 'x')])).toThrow('has the controller rdma')
  })
})

/** list, ps, update, events, spec and features from end to end, and beside runc where it is installed. */

import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseRuntimeFeatures } from '../../src/oci/runtime-features.ts'
import { parseRuntimeSpec } from '../../src/oci/runtime-spec-parser.ts'
import { validateRuntimeSpec } from '../../src/oci/runtime-validate.ts'
import { requirement, testIf } from '../support/requirement.ts'
import { finish, Machine, until } from './verbs-machine.ts'

const test = testIf('root', 'command busybox')
const able = requirement('root').ok && requirement('command busybox').ok

describe('the runtime', () => {
  let machine: Machine
  let id: string

  beforeAll(async () => {
    if (!able) return
    machine = new Machine()
    id = await machine.container('one')
  })

  afterAll(async () => {
    if (!able) return
    await using _ = machine
    for (const each of (await machine.run(['list', '-q'])).stdout.split('\n').filter(Boolean))
      await machine.run(['delete', '--force', each])
    expect(machine.leftovers()).toEqual([])
  })

  const run = (...args: string[]) => machine.run(args)
  const pidOf = async (name: string): Promise<number> => JSON.parse((await run('state', name)).stdout).pid

  test('list prints a line per container, their ids, or their states as JSON', async () => {
    const pid = await pidOf(id)
    const [titles, line] = (await run('list')).stdout.split('\n')
    expect(titles?.split(/\s+/)).toEqual(['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER'])
    expect(line?.split(/\s{3,}/)).toEqual([
      id,
      String(pid),
      'running',
      join(machine.base, 'one'),
      expect.stringMatching(/^\d{4}-\S+Z$/),
      'root',
    ])
    expect((await run('list', '--quiet')).stdout).toBe(`${id}\n`)
    const state = JSON.parse((await run('state', id)).stdout)
    expect(JSON.parse((await run('list', '--format', 'json')).stdout)).toEqual([state])
  })

  test('list does not show what a creator that died has left, nor fail for a state that is damaged', async () => {
    const left = join(machine.base, 'state', `${machine.prefix}left`)
    const damaged = join(machine.base, 'state', `${machine.prefix}damaged`)
    for (const dir of [left, damaged]) {
      mkdirSync(dir)
      writeFileSync(join(dir, 'config.json'), '{}')
    }
    writeFileSync(join(left, 'creator'), JSON.stringify({ pid: 1, startTicks: 12345 }))
    writeFileSync(join(damaged, 'state.json'), '{')
    const { status, stdout, stderr } = await run('list', '-q')
    expect({ status, stdout }).toEqual({ status: 0, stdout: `${id}\n` })
    expect(stderr).toContain(`${machine.prefix}damaged`)
    await Bun.$`rm -r ${left} ${damaged}`
  })

  test('list refuses an unknown format and an argument', async () => {
    expect(await run('list', '-f', 'xml')).toMatchObject({ status: 1, stderr: expect.stringContaining('"xml"') })
    expect(await run('list', 'x')).toMatchObject({ status: 1, stderr: expect.stringContaining('"x"') })
  })

  testIf(
    'root',
    'command busybox',
    'command ps',
  )('ps prints the lines of ps that are the container’s', async () => {
    const pid = await pidOf(id)
    const [titles, line, ...rest] = (await run('ps', id)).stdout.split('\n')
    expect(titles).toContain('PID')
    expect(line).toMatch(new RegExp(`^root +${pid} .*sleep 1000$`))
    expect(rest).toEqual([''])
    expect((await run('ps', id, '-e', '-o', 'pid,comm')).stdout.trim().split(/\s+/)).toEqual([
      'PID',
      'COMMAND',
      String(pid),
      'sleep',
    ])
    expect(await run('ps', id, '--nonsense')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('--nonsense'),
    })
  })

  test('ps --format json prints the process ids, and needs no ps', async () => {
    expect(JSON.parse((await run('ps', '--format', 'json', id)).stdout)).toEqual([await pidOf(id)])
  })

  test('update changes limits that hold, keeps those not named, and lets them be seen in the stats', async () => {
    const options = ['--memory', '64m', '--pids-limit', '20', '--cpu-quota', '50000', '--cpu-share', '512']
    expect(await run('update', ...options, id)).toEqual({ status: 0, stdout: '', stderr: '' })
    expect((await run('update', '--cpu-period', '200000', id)).status).toBe(0)
    const { data } = JSON.parse((await run('events', '--stats', id)).stdout)
    expect(data.memory.usage.limit).toBe(64 * 1024 * 1024)
    expect(data.pids.limit).toBe(20)
    const forks = await run(
      'exec',
      id,
      'sh',
      '-c',
      'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 1 & done; wait',
    )
    expect(forks.stderr).toContain("can't fork")
  })

  test('update reads resources from standard input and from a file', async () => {
    expect((await machine.run(['update', '--resources', '-', id], '{"pids":{"limit":31}}')).status).toBe(0)
    expect(JSON.parse((await run('events', '--stats', id)).stdout).data.pids.limit).toBe(31)
    const file = join(machine.base, 'resources.json')
    writeFileSync(file, '{"pids":{"limit":-1}}')
    expect((await run('update', '-r', file, id)).status).toBe(0)
    expect(JSON.parse((await run('events', '--stats', id)).stdout).data.pids.limit).toBeUndefined()
  })

  const refused = [
    [['--blkio-weight', '5'], 'blockIO.weight'],
    [['--memory', '10x'], '"10x"'],
    [['--cpu-quota', 'much'], '"much" is no whole number'],
    [['--l3-cache-schema', 'L3:0=f'], 'intelRdt'],
    [['--mem-bw-schema', 'MB:0=20'], 'intelRdt'],
    [['--resources', '/nowhere'], '"/nowhere"'],
    [['--resources', '-', '--memory', '5m'], 'with "--resources"'],
  ] as const
  for (const [options, text] of refused)
    test(`update ${options.join(' ')} is refused, naming ${text}`, async () => {
      expect(await run('update', ...options, id)).toMatchObject({ status: 1, stderr: expect.stringContaining(text) })
    })

  test('events streams stats at the interval and ends when the container has stopped', async () => {
    const other = await machine.container('ends')
    const child = machine.spawn(['events', '--interval', '50ms', other])
    const reader = child.stdout.getReader()
    const first = JSON.parse(new TextDecoder().decode((await reader.read()).value).split('\n')[0] ?? '')
    expect(first).toMatchObject({ type: 'stats', id: other, data: { pids: { current: 1 } } })
    await run('kill', other, 'KILL')
    while (!(await reader.read()).done);
    expect(await child.exited).toBe(0)
    expect(await run('events', '--stats', other)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('stopped'),
    })
  })

  test('events tells of a process killed for lack of memory', async () => {
    const other = await machine.container('oom')
    const child = machine.spawn(['events', '--interval', '1h', other])
    await run('update', '--memory', '16m', other)
    // The listener counts from when it listens: the kill must come after that.
    await until(() => readFileSync(`/proc/${child.pid}/cmdline`, 'utf8') !== '')
    const ended = finish(child)
    await until(async () => {
      await run('exec', other, 'tail', '/dev/zero')
      return Bun.peek.status(ended) === 'fulfilled' || (await run('kill', other, 'KILL')).status === 0
    })
    expect((await ended).stdout).toContain(`{"type":"oom","id":"${other}"}\n`)
  })

  test('spec writes a config that is valid, once', async () => {
    for (const options of [[], ['--rootless']]) {
      const bundle = join(machine.base, `spec${options.length}`)
      mkdirSync(bundle)
      expect(await run('spec', '--bundle', bundle, ...options)).toEqual({ status: 0, stdout: '', stderr: '' })
      const text = readFileSync(join(bundle, 'config.json'), 'utf8')
      expect(validateRuntimeSpec(parseRuntimeSpec(text).value)).toEqual([])
      expect(text.includes('uidMappings')).toBe(options.length > 0)
      expect(await run('spec', '-b', bundle)).toMatchObject({ status: 1, stderr: expect.stringContaining('it exists') })
    }
  })

  test('features prints a features document', async () => {
    expect(parseRuntimeFeatures((await run('features')).stdout).linux?.cgroup?.v2).toBe(true)
  })

  testIf(
    'root',
    'command busybox',
    'runc',
    'command ps',
  )('list, ps, events and state have the form of runc’s', async () => {
    await using theirs = new Machine(['runc'])
    const other = await theirs.container('one')
    const heads = async (machine: Machine, name: string) => ({
      list: shape((await machine.run(['list'])).stdout.split('\n')[0] ?? ''),
      ps: shape((await machine.run(['ps', name])).stdout.split('\n')[0] ?? ''),
      state: Object.keys(JSON.parse((await machine.run(['state', name])).stdout)),
      events: Object.keys(JSON.parse((await machine.run(['events', '--stats', name])).stdout).data),
    })
    const ours = await heads(machine, id)
    expect(ours).toEqual(await heads(theirs, other))
  })
})

/** Titles, with the space between them as one. */
function shape(line: string): string {
  return line.trim().replace(/\s+/g, ' ')
}

/** `berth-runc run`, the compiled program: a berth-init that waits for the container while the TypeScript it started has ended. */

import { describe, expect } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatJson } from '../../src/lib/json-shape.ts'
import { defaultSpec } from '../../src/oci/default-spec.ts'
import type { RuntimeSpec } from '../../src/oci/runtime-spec.ts'
import { testIf } from '../support/requirement.ts'
import { readText } from '../support/vanishing.ts'
import { finish, Machine, until } from './verbs-machine.ts'

const FRONT = join(import.meta.dir, '../../dist/berth-runc')
/** The launcher of this checkout, by whose `runtime` it is called too. */
const BERTH = join(import.meta.dir, '../../bin/berth')
const test = testIf('root', 'command busybox')

type Change = (spec: RuntimeSpec) => RuntimeSpec

/** A bundle whose program is a script, and the id of its container. */
function bundleOf(machine: Machine, script: string, change: Change = spec => spec): [bundle: string, id: string] {
  const id = `${machine.prefix}front`
  const bundle = join(machine.base, id)
  mkdirSync(bundle)
  const spec = defaultSpec()
  const config: RuntimeSpec = {
    ...spec,
    process: { ...spec.process, terminal: false, args: ['sh', '-c', script], cwd: '/' },
    root: { path: join(machine.base, 'rootfs') },
  }
  writeFileSync(join(bundle, 'config.json'), formatJson(change(config)))
  return [bundle, id]
}

function childrenOf(pid: number): string[] {
  return readText(`/proc/${pid}/task/${pid}/children`).trim().split(' ').filter(Boolean)
}

const commOf = (pid: string | number) => readText(`/proc/${pid}/comm`).trim()

describe('berth-runc run', () => {
  test('exits with the status of the program, or 128 and its signal, and leaves nothing', async () => {
    await using machine = new Machine([FRONT])
    for (const [script, status] of [
      ['exit 7', 7],
      ['kill -9 $$', 0],
      ['echo said; echo also >&2', 0],
    ] as const) {
      await Bun.$`rm -rf ${join(machine.base, `${machine.prefix}front`)}`
      const [bundle, id] = bundleOf(machine, script)
      const outcome = await machine.run(['run', '--bundle', bundle, id])
      expect({ script, ...outcome }).toMatchObject({ script, status })
      expect(machine.leftovers()).toEqual([])
    }
  })

  test('gives the program its stdin, stdout and stderr, and the preserved fds', async () => {
    await using machine = new Machine([FRONT])
    const [bundle, id] = bundleOf(machine, 'cat; echo error >&2; cat <&3')
    const file = join(machine.base, 'handed')
    writeFileSync(file, 'three\n')
    const command = machine.command('run', '--preserve-fds', '1', '--bundle', bundle, id)
    const child = Bun.spawn(['sh', '-c', `exec "$@" 3< ${file}`, 'sh', ...command], {
      stdin: new TextEncoder().encode('in\n'),
      stdout: 'pipe',
      stderr: 'pipe',
    })
    expect(await finish(child)).toEqual({ status: 0, stdout: 'in\nthree\n', stderr: 'error\n' })
  })

  test('is what bin/berth runtime run is', async () => {
    await using machine = new Machine([BERTH, 'runtime'])
    const [bundle, id] = bundleOf(machine, 'trap "exit 3" TERM; while :; do sleep 0.01; done')
    const child = machine.spawn(['run', '--bundle', bundle, id])
    await until(async () => (await machine.run(['state', id])).stdout.includes('"running"'))
    await until(() => childrenOf(child.pid).length === 1)
    expect(childrenOf(child.pid).map(commOf)).toEqual(['sh'])
    process.kill(child.pid, 'SIGTERM')
    expect((await finish(child)).status).toBe(3)
  })

  test('is, while the program runs, one berth-init with the program as its child', async () => {
    await using machine = new Machine([FRONT])
    const [bundle, id] = bundleOf(machine, 'trap "exit 3" TERM; echo ready; while :; do sleep 0.01; done')
    const child = machine.spawn(['run', '--bundle', bundle, id])
    await until(async () => (await machine.run(['state', id])).stdout.includes('"running"'))
    await until(() => childrenOf(child.pid).length === 1)
    expect(childrenOf(child.pid).map(commOf)).toEqual(['sh'])
    process.kill(child.pid, 'SIGTERM')
    expect(await finish(child)).toMatchObject({ status: 3, stderr: '' })
    expect(machine.leftovers()).toEqual([])
  })

  test('that is killed takes the TypeScript along, and what it leaves is deleted as any container', async () => {
    await using machine = new Machine([FRONT])
    const [bundle, id] = bundleOf(machine, 'sleep 1000')
    const child = machine.spawn(['run', '--bundle', bundle, id])
    await until(async () => (await machine.run(['state', id])).stdout.includes('"running"'))
    child.kill('SIGKILL')
    await child.exited
    expect((await machine.run(['delete', '--force', id])).status).toBe(0)
    expect(machine.leftovers()).toEqual([])
  })

  test('has the runtime delete what needs more than its plan: hooks, limits that were changed', async () => {
    await using machine = new Machine([FRONT])
    const file = join(machine.base, 'stopped')
    const hooks = { poststop: [{ path: '/bin/sh', args: ['sh', '-c', `cat > ${file}`] }] }
    const [bundle, id] = bundleOf(machine, 'exit 5', spec => ({ ...spec, hooks }))
    expect(await machine.run(['run', '--bundle', bundle, id])).toEqual({ status: 5, stdout: '', stderr: '' })
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ id, status: 'stopped' })
    expect(machine.leftovers()).toEqual([])
  })

  test('ends what the program has left in the host’s PID namespace', async () => {
    await using machine = new Machine([FRONT])
    const [bundle, id] = bundleOf(machine, 'sleep 1000 & exit 4', spec => ({
      ...spec,
      linux: { ...spec.linux, namespaces: (spec.linux?.namespaces ?? []).filter(({ type }) => type !== 'pid') },
    }))
    expect((await machine.run(['run', '--bundle', bundle, id])).status).toBe(4)
    expect(machine.leftovers()).toEqual([])
  })

  test('keeps the container with --keep', async () => {
    await using machine = new Machine([FRONT])
    const [bundle, id] = bundleOf(machine, 'exit 6')
    expect((await machine.run(['run', '--keep', '--bundle', bundle, id])).status).toBe(6)
    expect(JSON.parse((await machine.run(['state', id])).stdout)).toMatchObject({ status: 'stopped' })
  })

  test('says why a container can’t be made, in the log too, and exits as the runtime does', async () => {
    await using machine = new Machine([FRONT])
    const [bundle, id] = bundleOf(machine, 'true', spec => ({
      ...spec,
      process: { ...spec.process, cwd: '/', args: ['no-such-program'] },
    }))
    const log = join(machine.base, 'log')
    const outcome = await machine.run(['--log', log, '--log-format', 'json', 'run', '--bundle', bundle, id])
    expect(outcome).toMatchObject({ status: 1, stderr: expect.stringContaining('executable file not found in $PATH') })
    expect(JSON.parse(readFileSync(log, 'utf8'))).toMatchObject({ level: 'error' })
    expect(machine.leftovers()).toEqual([])
  })

  test('says which step of the plan has failed, also of those that came ahead of the rest, and leaves nothing', async () => {
    await using machine = new Machine([FRONT])
    const [bundle, id] = bundleOf(machine, 'true', spec => ({
      ...spec,
      linux: { ...spec.linux, resources: { ...spec.linux?.resources, cpu: { cpus: '4000' } } },
    }))
    const explained = await machine.run(['explain', bundle])
    const step = /^ *(\d+) {2}write\(.*cpuset\.cpus", "4000"\)/m.exec(explained.stdout)?.[1]
    expect(step).toBeDefined()
    const { status, stderr } = await machine.run(['run', '--bundle', bundle, id])
    expect(stderr).toMatch(new RegExp(`step ${step} of stage host.*cpuset\\.cpus`))
    expect(status).toBe(1)
    expect(machine.leftovers()).toEqual([])
  })

  test('leaves nothing of what came ahead of a plan that can’t be composed', async () => {
    await using machine = new Machine([FRONT])
    const [bundle, id] = bundleOf(machine, 'true', spec => ({
      ...spec,
      linux: { ...spec.linux, intelRdt: { closID: 'guaranteed' } },
    }))
    const outcome = await machine.run(['run', '--bundle', bundle, id])
    expect(outcome).toMatchObject({ status: 1, stderr: expect.stringContaining('linux.intelRdt') })
    expect(machine.leftovers()).toEqual([])
  })

  test('undoes what it did when the TypeScript is killed before the container is complete', async () => {
    await using machine = new Machine([FRONT])
    const [entered, released] = [join(machine.base, 'entered'), join(machine.base, 'released')]
    const wait = `touch ${entered}; until [ -e ${released} ]; do sleep 0.01; done`
    const hooks = { createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', wait] }] }
    const [bundle, id] = bundleOf(machine, 'true', spec => ({ ...spec, hooks }))
    const child = machine.spawn(['run', '--bundle', bundle, id])
    const berth = () => childrenOf(child.pid).find(pid => readText(`/proc/${pid}/cmdline`).includes('--launcher'))
    await until(() => existsSync(entered))
    process.kill(Number(berth()), 'SIGKILL')
    writeFileSync(released, '')
    expect(await child.exited).not.toBe(0)
    await machine.run(['delete', '--force', id])
    expect(machine.leftovers()).toEqual([])
  })

  test('passes a signal on to the TypeScript where that waits itself, as for a terminal', async () => {
    await using machine = new Machine([FRONT])
    const [bundle, id] = bundleOf(machine, 'trap "exit 3" TERM; while :; do sleep 0.01; done', spec => ({
      ...spec,
      process: { ...spec.process, cwd: '/', terminal: true, args: spec.process?.args ?? [] },
    }))
    const child = machine.spawn(['run', '--bundle', bundle, id])
    await until(async () => (await machine.run(['state', id])).stdout.includes('"running"'))
    await Bun.sleep(0)
    process.kill(child.pid, 'SIGTERM')
    expect((await finish(child)).status).toBe(3)
    expect(machine.leftovers()).toEqual([])
  })
})

describe('berth-runc', () => {
  test('linked as runc is the runtime too, and hands no variable of its own to a hook', async () => {
    await using machine = new Machine()
    const link = join(machine.base, 'runc')
    symlinkSync(FRONT, link)
    expect((await Bun.$`${link} --version`.text()).split('\n')[0]).toMatch(/^berth version /)
    const file = join(machine.base, 'environment')
    const hooks = { createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', `env > ${file}`] }] }
    const [bundle, id] = bundleOf(machine, 'true', spec => ({ ...spec, hooks }))
    await Bun.$`${link} --root ${join(machine.base, 'state')} run --bundle ${bundle} ${id}`.quiet()
    expect(readFileSync(file, 'utf8')).not.toMatch(/BUN_|LAUNCHER/)
    expect(readdirSync(join(machine.base, 'state')).filter(name => name !== '~')).toEqual([])
  })
})

/** The operations of runtime.md: create, start, state, kill, delete. */

import { describe, expect } from 'bun:test'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { parseRuntimeState } from '../../../src/oci/runtime-state.ts'
import { poll } from './box.ts'
import { conforms } from './harness.ts'

describe('state', () => {
  conforms('state answers with ociVersion, id, status, pid and bundle, as the schema says', async box => {
    const state = await box.created(['sleep', '1000'], { annotations: { key: 'value' } })
    const { pid } = state
    expect(parseRuntimeState(JSON.stringify(state))).toBeDefined()
    expect(state).toMatchObject({
      ociVersion: expect.stringMatching(/^1\.\d+\.\d+/),
      id: box.id,
      status: 'created',
      bundle: box.bundle,
      annotations: { key: 'value' },
    })
    expect(existsSync(`/proc/${pid}`)).toBe(true)
  })

  conforms('state of a container goes from created to running to stopped', async box => {
    expect((await box.created(['sleep', '1000'])).status).toBe('created')
    await box.ok('start', box.id)
    expect((await box.state()).status).toBe('running')
    await box.ok('kill', box.id, 'KILL')
    await box.until('stopped')
    await box.ok('delete', box.id)
    await box.fails('state', box.id)
  })

  conforms('every operation on a container that does not exist is an error that says so', async box => {
    for (const operation of ['state', 'start', 'kill', 'delete', 'pause', 'resume', 'ps', 'exec', 'update', 'events'])
      expect([operation, await box.fails(operation, box.id, ...(operation === 'exec' ? ['true'] : []))]).toEqual([
        operation,
        expect.stringContaining('does not exist'),
      ])
  })

  conforms('every operation without an id is an error', async box => {
    for (const operation of ['state', 'create', 'start', 'kill', 'delete'])
      expect(await box.fails(operation)).not.toBe('')
  })
})

describe('create', () => {
  conforms('create makes everything but does not run the program', async box => {
    const { pid } = await box.created('touch /tmp/ran', {
      hostname: 'made',
      linux: { resources: { pids: { limit: 44n } } },
    })
    expect(pid).toBeGreaterThan(1)
    expect(existsSync(`${box.rootfs}/tmp/ran`)).toBe(false)
    expect(readFileSync(`/proc/${pid}/mountinfo`, 'utf8')).toContain(' /dev/shm ')
    await box.ok('start', box.id)
    await poll(() => existsSync(`${box.rootfs}/tmp/ran`), 'the program has run')
  })

  conforms('create without a config.json, or without a root, is an error', async box => {
    expect((await box.create()).stderr).toContain('config.json')
    const { root: _, ...spec } = box.spec(['true'])
    expect(await box.refusal(spec)).toMatch(/root/i)
  })

  conforms('create without process is refused', async box => {
    const { process: _, ...spec } = box.spec(['true'])
    expect(await box.refusal(spec)).toMatch(/process/i)
  })

  conforms('create with an id that is taken is an error, and the container is as it was', async box => {
    const before = await box.started()
    const { status, stderr } = await box.create()
    expect([status === 0, stderr]).toEqual([false, expect.stringMatching(/exist|taken|in use/)])
    expect(await box.state()).toEqual(before)
  })

  conforms('create with an id that is no name is an error', async box => {
    box.write(box.spec(['true']))
    for (const id of ['..', 'a/b', '', 'with space', '.'])
      expect([id, (await box.cli(['create', '--bundle', box.bundle, id])).status === 0]).toEqual([id, false])
  })

  conforms('create that fails leaves nothing, and the id can be used again', async box => {
    await box.refusal(['true'], { mounts: [{ destination: '/mnt', type: 'nosuchfs', source: 'x' }] })
    await box.fails('state', box.id)
    expect(await box.see(['echo', 'second'])).toBe('second')
  })

  conforms('changes of config.json after create have no effect', async box => {
    await box.created(['echo', 'first'])
    box.write(box.spec(['echo', 'second'], { process: { env: ['X=changed'] } }))
    await box.ok('start', box.id)
    await box.until('stopped')
    expect(box.output()).toBe('first\n')
    writeFileSync(box.path('config.json'), '')
    await box.ok('delete', box.id)
  })

  conforms('create --pid-file writes the pid of the process', async box => {
    box.write(box.spec(['sleep', '1000']))
    await box.create(['--pid-file', box.path('pid')])
    expect(Number(readFileSync(box.path('pid'), 'utf8'))).toBe((await box.state()).pid ?? 0)
  })

  conforms('create --preserve-fds hands fds on', async box => {
    box.write(box.spec('cat <&3; cat <&4; probe fds'))
    for (const name of ['three', 'four']) writeFileSync(box.path(name), `${name}\n`)
    box.enclose('exec "$@" 3<three 4<four')
    await box.create(['--preserve-fds', '2'])
    await box.ok('start', box.id)
    await box.until('stopped')
    expect(box.output()).toBe('three\nfour\n0 1 2 3 4 \n')
  })

  conforms('create --no-pivot changes the root by chroot', async box => {
    box.write(box.spec(['cat', '/data/file']))
    expect((await box.create(['--no-pivot'])).status).toBe(0)
    await box.ok('start', box.id)
    await box.until('stopped')
    expect(box.output()).toBe('content\n')
  })
})

describe('start', () => {
  conforms('start runs the program with the stdio of create', async box => {
    await box.started('echo out; echo err >&2; cat')
    await box.until('stopped')
    expect(box.output()).toBe('out\n')
    expect(readFileSync(box.path(`${box.id}.log`), 'utf8')).toContain('err\n')
  })

  conforms('start of a container that runs or has stopped is an error and changes nothing', async box => {
    const { pid } = await box.started()
    await box.fails('start', box.id)
    expect(await box.state()).toMatchObject({ status: 'running', pid })
    await box.ok('kill', box.id, 'KILL')
    await box.until('stopped')
    await box.fails('start', box.id)
    expect((await box.state()).status).toBe('stopped')
  })

  conforms('the container outlives the caller of create and start', async box => {
    await box.started('while :; do echo tick; sleep 0.05; done')
    await poll(() => box.output().includes('tick'), 'output')
    expect((await box.state()).status).toBe('running')
  })
})

describe('kill', () => {
  conforms('kill sends the signal that is named, by name with or without SIG or by number', async box => {
    await box.started(
      'trap "echo USR1" USR1; trap "echo TERM" TERM; trap "echo HUP; exit" HUP; echo ready; while :; do sleep 0.02; done',
    )
    await poll(() => box.output().includes('ready'), 'ready')
    for (const [signal, said] of [
      ['SIGUSR1', 'USR1'],
      ['TERM', 'TERM'],
      ['1', 'HUP'],
    ] as const) {
      await box.ok('kill', box.id, signal)
      await poll(() => box.output().includes(said), said)
    }
    await box.until('stopped')
  })

  conforms('kill without a signal sends SIGTERM', async box => {
    await box.started('trap "echo TERM; exit" TERM; echo ready; while :; do sleep 0.02; done')
    await poll(() => box.output().includes('ready'), 'ready')
    await box.ok('kill', box.id)
    await box.until('stopped')
    expect(box.output()).toContain('TERM')
  })

  conforms('kill reaches a container that is created', async box => {
    await box.created(['sleep', '1000'])
    await box.ok('kill', box.id, 'KILL')
    await box.until('stopped')
  })

  conforms('kill of a stopped container, and with an unknown signal, is an error', async box => {
    await box.started()
    expect(await box.fails('kill', box.id, 'NOSUCH')).toContain('NOSUCH')
    await box.ok('kill', box.id, 'KILL')
    await box.until('stopped')
    expect(await box.fails('kill', box.id, 'KILL')).toContain('not running')
  })

  conforms('kill --all ends all processes of a container without a PID namespace', async box => {
    const namespaces = [{ type: 'mount' }, { type: 'network' }, { type: 'ipc' }] as const
    await box.started('sleep 1000 & sleep 1001 & wait', { hostname: '', linux: { namespaces } })
    await box.ok('kill', '--all', box.id, 'KILL')
    await box.until('stopped')
  })
})

describe('delete', () => {
  conforms('delete of a running container is an error and changes nothing; --force ends it first', async box => {
    const { pid } = await box.started()
    await box.fails('delete', box.id)
    expect(await box.state()).toMatchObject({ status: 'running', pid })
    await box.ok('delete', '--force', box.id)
    await box.fails('state', box.id)
    expect(existsSync(`/proc/${pid}/root/data`)).toBe(false)
  })

  conforms('delete --force of a container that does not exist is no error', async box => {
    await box.ok('delete', '--force', box.id)
  })

  conforms('delete leaves what the runtime has not made', async box => {
    mkdirSync(box.path('source'))
    writeFileSync(box.path('source/mine'), '')
    await box.started('touch /mnt/theirs', {
      mounts: [{ destination: '/mnt', type: 'bind', source: box.path('source'), options: ['bind'] }],
    })
    await box.until('stopped')
    await box.ok('delete', box.id)
    expect([
      existsSync(box.path('source/mine')),
      existsSync(box.path('source/theirs')),
      existsSync(box.path('config.json')),
    ]).toEqual([true, true, true])
  })

  conforms('an id can be used again after delete', async box => {
    for (const word of ['one', 'two']) {
      await box.started(['echo', word])
      await box.until('stopped')
      expect(box.output()).toBe(`${word}\n`)
      await box.ok('delete', box.id)
    }
  })
})

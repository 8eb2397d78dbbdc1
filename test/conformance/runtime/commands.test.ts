/** Commands and options beyond the spec, which engines expect of a runtime: those of runc. */

import { describe, expect } from 'bun:test'
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { poll } from './box.ts'
import { conforms } from './harness.ts'

const MIB = 1024 * 1024

describe('run', () => {
  conforms('run ends with the status of the program, 128 and the signal when one ended it', async box => {
    expect((await box.run('exit 42')).status).toBe(42)
    box.write(box.spec(['sleep', '1000']))
    const run = box.spawn(['run', '--bundle', box.bundle, box.id])
    await poll(async () => (await box.cli(['state', box.id])).stdout.includes('running'), 'running')
    await box.ok('kill', box.id, 'KILL')
    expect(await run.exited).toBe(137)
  })

  conforms('run passes signals on to the program', async box => {
    box.write(box.spec('trap "exit 9" TERM; echo ready; while :; do sleep 0.02; done'))
    const run = box.spawn(['run', '--bundle', box.bundle, box.id])
    const { value } = await run.stdout.getReader().read()
    expect(new TextDecoder().decode(value)).toBe('ready\n')
    run.kill('SIGTERM')
    expect(await run.exited).toBe(9)
  })

  conforms('run removes the container when it has ended, run --keep does not', async box => {
    await box.see(['true'])
    await box.fails('state', box.id)
    box.write(box.spec(['true']))
    await box.cli(['run', '--keep', '--bundle', box.bundle, box.id])
    expect((await box.state()).status).toBe('stopped')
  })

  conforms('run --detach returns while the program runs', async box => {
    box.write(box.spec(['sleep', '1000']))
    const child = Bun.spawn(
      box.command('run', '--detach', '--pid-file', box.path('pid'), '--bundle', box.bundle, box.id),
      { stdio: ['ignore', 'ignore', 'ignore'] },
    )
    expect(await child.exited).toBe(0)
    expect((await box.state()).status).toBe('running')
    expect(readFileSync(box.path('pid'), 'utf8')).toBe(String((await box.state()).pid))
    await box.ok('delete', '--force', box.id)
  })
})

describe('pause and resume', () => {
  conforms('pause stops all processes, resume lets them go on', async box => {
    await box.started('while :; do echo x; sleep 0.01; done')
    await poll(() => box.output() !== '', 'output')
    await box.ok('pause', box.id)
    expect((await box.state()).status).toBe('paused')
    const before = box.output()
    await Bun.sleep(100)
    expect(box.output()).toBe(before)
    await box.ok('resume', box.id)
    await poll(() => box.output() !== before, 'more output')
    expect((await box.state()).status).toBe('running')
  })

  conforms('pause of a paused and resume of a running container are errors', async box => {
    await box.started()
    await box.fails('resume', box.id)
    await box.ok('pause', box.id)
    await box.fails('pause', box.id)
    await box.ok('delete', '--force', box.id)
  })
})

describe('exec', () => {
  conforms('exec runs a process in the container with options for env, cwd, user and capabilities', async box => {
    await box.started()
    const options = ['--env', 'A=1', '--cwd', '/data', '--user', '7:8', '--cap', 'CAP_NET_ADMIN']
    const script = 'echo $A; pwd; id -u; id -g; grep CapBnd /proc/self/status; exit 5'
    const { status, stdout } = await box.cli(['exec', ...options, box.id, 'sh', '-c', script])
    const [a, pwd, uid, gid, bounding = ''] = stdout.trim().split('\n')
    expect([status, a, pwd, uid, gid]).toEqual([5, '1', '/data', '7', '8'])
    expect(Number.parseInt(bounding.slice(-5, -3), 16) & 1).toBe(1)
  })

  conforms('exec --process reads the process from a file', async box => {
    await box.started()
    writeFileSync(
      box.path('process.json'),
      JSON.stringify({ cwd: '/tmp', args: ['sh', '-c', 'pwd; id -u'], env: ['PATH=/bin'], user: { uid: 3, gid: 3 } }),
    )
    expect(await box.ok('exec', '--process', box.path('process.json'), box.id)).toBe('/tmp\n3\n')
  })

  conforms('exec in a container that is stopped is an error', async box => {
    await box.started(['true'])
    await box.until('stopped')
    await box.fails('exec', box.id, 'true')
  })

  conforms('exec --tty with a console socket', async box => {
    await box.started()
    const console = await box.probe('console', box.path('console'))
    await box.ok(
      'exec',
      '--tty',
      '--detach',
      '--console-socket',
      box.path('console'),
      box.id,
      'readlink',
      '/proc/self/fd/0',
    )
    expect((await console.rest()).trim()).toMatch(/^\/dev\/pts\/\d$/)
  })
})

describe('ps, list, events, update', () => {
  conforms('ps shows the processes of the container, as a table and as JSON', async box => {
    const { pid } = await box.started('sleep 1000 & sleep 1001 & wait')
    await poll(async () => JSON.parse(await box.ok('ps', '--format', 'json', box.id)).length === 3, 'three processes')
    expect(JSON.parse(await box.ok('ps', '--format', 'json', box.id))).toContain(pid)
    expect(await box.ok('ps', box.id)).toMatch(/PID[\s\S]*sleep 1000/)
  })

  conforms('list shows containers with their state, as a table, as JSON and as ids', async box => {
    const { pid } = await box.created(['true'])
    expect(await box.ok('list')).toMatch(
      new RegExp(`^ID +PID +STATUS +BUNDLE +CREATED +OWNER\n${box.id} +${pid} +created +${box.bundle} `),
    )
    expect(JSON.parse(await box.ok('list', '--format', 'json'))).toMatchObject([
      { id: box.id, pid, status: 'created', bundle: box.bundle },
    ])
    expect(await box.ok('list', '--quiet')).toBe(`${box.id}\n`)
  })

  conforms('events --stats prints what the container uses', async box => {
    await box.started()
    const event = JSON.parse(await box.ok('events', '--stats', box.id))
    expect(event).toMatchObject({ type: 'stats', id: box.id, data: { pids: { current: 1 }, cpu: {}, memory: {} } })
  })

  conforms(
    'update changes limits of a running container',
    async box => {
      await box.started(['sleep', '1000'], { linux: { resources: { memory: { limit: 64n * 1024n * 1024n } } } })
      await box.ok('update', '--pids-limit', '12', '--cpu-share', '256', box.id)
      writeFileSync(box.path('resources.json'), JSON.stringify({ memory: { limit: 32 * MIB } }))
      await box.ok('update', '--resources', box.path('resources.json'), box.id)
      const read = (path: string) => readFileSync(`/sys/fs/cgroup/${path}`, 'utf8').trim()
      expect([
        read(`pids/${box.id}/pids.max`),
        read(`cpu/${box.id}/cpu.shares`),
        read(`memory/${box.id}/memory.limit_in_bytes`),
      ]).toEqual(['12', '256', String(32 * MIB)])
    },
    { needs: ['cgroup v1'] },
  )

  conforms('features names the versions, hooks, mount options and Linux features', async box => {
    const features = JSON.parse(await box.ok('features'))
    expect(features).toMatchObject({
      ociVersionMin: expect.stringMatching(/^1\.0/),
      ociVersionMax: expect.stringMatching(/^1\./),
      hooks: ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'],
      linux: {
        namespaces: expect.arrayContaining(['mount', 'user', 'cgroup']),
        capabilities: expect.arrayContaining(['CAP_CHOWN']),
        cgroup: { v1: true, v2: true },
        seccomp: { enabled: true },
      },
    })
    expect(features.mountOptions).toEqual(expect.arrayContaining(['rbind', 'rro', 'ro', 'tmpcopyup', 'rshared']))
  })

  conforms('ociVersionMin and ociVersionMax of features are accepted as ociVersion', async box => {
    const { ociVersionMin, ociVersionMax } = JSON.parse(await box.ok('features'))
    for (const ociVersion of [ociVersionMin, ociVersionMax])
      expect(await box.see(['echo', 'ran'], { ociVersion })).toBe('ran')
  })

  conforms('spec writes a config that run can run', async box => {
    await box.ok('spec', '--bundle', box.bundle)
    const spec = JSON.parse(readFileSync(box.path('config.json'), 'utf8'))
    writeFileSync(
      box.path('config.json'),
      JSON.stringify({
        ...spec,
        process: { ...spec.process, terminal: false, args: ['echo', 'ran'], env: ['PATH=/bin'] },
      }),
    )
    expect(await box.ok('run', '--bundle', box.bundle, box.id)).toBe('ran\n')
  })
})

describe('global options', () => {
  conforms('--log-format json writes the reason of a failure as the last line of the log', async box => {
    const log = box.path('log.json')
    await box.cli(['--log', log, '--log-format', 'json', 'start', box.id])
    const last = JSON.parse(readFileSync(log, 'utf8').trim().split('\n').at(-1) ?? '')
    expect(last).toMatchObject({
      level: 'error',
      msg: expect.stringContaining('does not exist'),
      time: expect.any(String),
    })
  })

  conforms('--systemd-cgroup without systemd is an error that names it', async box => {
    if (existsSync('/run/systemd/system')) return // Then it works; see the tests of npm run test:vm.
    box.write(box.spec(['true'], { linux: { cgroupsPath: `user.slice:test:${box.id}` } }))
    const { status, stderr } = await box.cli(['--systemd-cgroup', 'create', '--bundle', box.bundle, box.id])
    expect([status === 0, stderr]).toEqual([false, expect.stringMatching(/systemd/)])
  })

  conforms('a command that does not exist, and an option that does not exist, are errors', async box => {
    expect((await box.cli(['dance'])).status).not.toBe(0)
    expect((await box.cli(['state', '--dance', box.id])).status).not.toBe(0)
  })

  conforms('--version names the spec', async box => {
    expect(await box.ok('--version')).toMatch(/^(berth|runc) version .*\n(.*\n)*spec: 1\.\d/)
  })

  conforms(
    'a symlink called runc is the runtime',
    async box => {
      const dist = join(import.meta.dir, '../../../dist/berth')
      if (!existsSync(dist)) return // Only a compiled program can be called by another name.
      symlinkSync(dist, box.path('runc'))
      const child = Bun.spawn([box.path('runc'), '--version'], { stdout: 'pipe' })
      expect(await new Response(child.stdout).text()).toContain('spec: 1.')
    },
    { notOnRunc: 'it is its name' },
  )
})

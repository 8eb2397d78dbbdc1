/** `berth inspect` of containers: Docker's shape, filled with what the engine knows. */
import { expect } from 'bun:test'
import { mkdirSync } from 'node:fs'
import { type EngineBox, engineTest } from './engine-box.ts'

async function inspect(box: EngineBox, name: string, ...options: readonly string[]) {
  const { status, stdout, stderr } = await box.berth([...options, 'inspect', name])
  expect([status, stderr]).toEqual([0, ''])
  const [container] = JSON.parse(stdout)
  return container
}

engineTest('inspect shows how a container was made and how it ended', async box => {
  const bound = box.path('bound')
  mkdirSync(bound)
  const options = ['--name', 'c1', '--hostname', 'h', '--init', '--memory', '64m', '--pids-limit', '99', '--read-only']
  const more = ['-e', 'A=b', '-l', 'x=y', '-w', '/tmp', '-v', `${bound}:/b:ro`, '--tmpfs', '/t:size=1m', '-u', '7:8']
  const image = ['--rootfs', box.rootfs()]
  const run = await box.berth(['run', ...options, ...more, ...image, 'sh', '-c', 'exit 3'])
  expect([run.status, run.stderr]).toEqual([3, ''])
  const container = await inspect(box, 'c1')
  const directory = box.path('data/containers', container.Id)
  expect(container).toMatchObject({
    Name: '/c1',
    Path: 'sh',
    Args: ['-c', 'exit 3'],
    State: { Status: 'exited', Running: false, Paused: false, Pid: 0, ExitCode: 3 },
    Driver: 'overlay2',
    LogPath: `${directory}/log/container.log`,
    HostnamePath: `${directory}/hostname`,
    HostConfig: {
      Init: true,
      NetworkMode: 'none',
      UsernsMode: '',
      ReadonlyRootfs: true,
      Memory: 67_108_864,
      PidsLimit: 99,
      ShmSize: 67_108_864,
      Tmpfs: { '/t': expect.stringContaining('size=1m') },
    },
    Config: { Hostname: 'h', User: '7:8', WorkingDir: '/tmp', Labels: { x: 'y' }, Cmd: ['sh', '-c', 'exit 3'] },
    GraphDriver: { Name: 'overlay2', Data: { UpperDir: `${directory}/upper`, WorkDir: `${directory}/work` } },
  })
  expect(container.Config.Env).toContain('A=b')
  expect(container.Mounts).toEqual([
    { Type: 'bind', Source: bound, Destination: '/b', Mode: 'ro', RW: false, Propagation: 'rprivate' },
  ])
  await box.berth(['rm', 'c1'])
})

engineTest('inspect shows the process of a container that runs', async box => {
  const options = ['--name', 'c2', '--network', 'host', '--rootfs', box.rootfs()]
  const running = await box.start([...options, 'sh', '-c', 'echo up; read x < /dev/zero'], 'up')
  const container = await inspect(box, 'c2')
  expect(container.State).toMatchObject({ Status: 'running', Running: true, ExitCode: 0 })
  expect(container.State.Pid).toBeGreaterThan(1)
  expect(container).toMatchObject({ HostConfig: { NetworkMode: 'host' }, Mounts: [] })
  await box.berth(['rm', '--force', 'c2'])
  await running.exited
})

engineTest('inspect names the storage driver of a container, and its directories where it has some', async box => {
  const vfs = ['--root', box.path('vfs'), '--storage-driver', 'vfs']
  await box.berth([...vfs, 'run', '--name', 'c3', '--rootfs', box.rootfs(), 'true'])
  const { Driver, GraphDriver } = await inspect(box, 'c3', ...vfs)
  expect([Driver, GraphDriver]).toEqual(['vfs', { Name: 'vfs', Data: null }])
  await box.berth([...vfs, 'rm', 'c3'])
})

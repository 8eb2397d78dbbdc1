/** Podman with Berth as its runtime: what an engine above expects, conmon between them. Containers of `--rootfs`, no image. */

import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { poll } from '../conformance/runtime/box.ts'
import { leftoversOf } from '../conformance/runtime/leftovers.ts'
import { compileProbe, makeRootfs } from '../conformance/runtime/rootfs.ts'
import { requirement, testIf } from '../support/requirement.ts'

const NEEDS = ['root', 'podman', 'command conmon', 'command busybox', 'command cc'] as const
const test = testIf(...NEEDS)
const able = NEEDS.every(name => requirement(name).ok)
const SOURCE = join(import.meta.dir, '../../src/cli/main.ts')
const COMPILED = join(import.meta.dir, '../../dist/berth-runc')
/** Podman asks for more open files and processes than a root without CAP_SYS_RESOURCE may give. */
const LIMITS = ['--ulimit', 'nofile=1000:1000', '--ulimit', 'nproc=4000:4000']
const MARK = `podman${process.pid}`

interface Outcome {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

describe('podman --runtime berth-runc', () => {
  let base = ''

  beforeAll(() => {
    if (!able) return
    base = mkdtempSync(join(tmpdir(), 'berth-podman-'))
    compileProbe(base)
    makeRootfs(join(base, 'rootfs'), base)
    mkdirSync(join(base, 'tmp'))
    writeFileSync(join(base, 'from-source'), `#!/bin/sh\nexec "${process.execPath}" "${SOURCE}" runtime "$@"\n`)
    chmodSync(join(base, 'from-source'), 0o755)
  })

  afterAll(async () => {
    if (!able) return
    await podman('rm', '--all', '--force', '--time', '0')
    await poll(
      () => leftoversOf(base, `MARK=${MARK}`).length === 0,
      'nothing left',
      () => leftoversOf(base, `MARK=${MARK}`).join('\n'),
    )
    rmSync(base, { recursive: true, force: true })
  })

  async function podman(...args: readonly string[]): Promise<Outcome> {
    const places = ['--root', join(base, 'root'), '--runroot', join(base, 'runroot'), '--tmpdir', join(base, 'tmp')]
    const runtime = existsSync(COMPILED) ? COMPILED : join(base, 'from-source')
    const global = [...places, '--cgroup-manager', 'cgroupfs', '--events-backend', 'none', '--runtime', runtime]
    // conmon leaves a file `oom` in its working directory when it sees the container's memory cgroup end early.
    const options = { cwd: base, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' } as const
    const child = Bun.spawn(['podman', ...global, ...args], options)
    const [stdout, stderr, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ])
    return { status, stdout, stderr }
  }

  async function run(options: readonly string[], ...command: readonly string[]): Promise<Outcome> {
    return await podman(
      'run',
      '--network',
      'none',
      '--env',
      `MARK=${MARK}`,
      ...LIMITS,
      ...options,
      '--rootfs',
      join(base, 'rootfs'),
      ...command,
    )
  }

  test('run in the foreground gives output and exit status', async () => {
    expect(await run(['--rm'], 'sh', '-c', 'echo out; echo err >&2; exit 3')).toMatchObject({
      status: 3,
      stdout: 'out\n',
      stderr: expect.stringContaining('err'),
    })
    expect(await run(['--rm'], 'true')).toMatchObject({ status: 0 })
  })

  test('a command that is not there ends with 127, one that can not be executed with 126', async () => {
    expect(await run(['--rm'], 'nosuch')).toMatchObject({ status: 127, stderr: expect.stringContaining('nosuch') })
    expect(await run(['--rm'], '/etc')).toMatchObject({ status: 126 })
    expect(await run(['--rm'], '/etc/passwd')).toMatchObject({ status: 126 })
  })

  test('a command ended by a signal adds 128', async () => {
    expect(await run(['--rm', '--pid', 'host'], 'sh', '-c', 'kill -9 $$')).toMatchObject({ status: 137 })
  })

  test('--user, --workdir, --env, --hostname, --cap-add, --read-only, --tmpfs and --volume are seen inside', async () => {
    mkdirSync(join(base, 'volume'), { recursive: true })
    const options = [
      '--user',
      '5:6',
      '--workdir',
      '/data',
      '--env',
      'A=1',
      '--hostname',
      'podded',
      '--cap-add',
      'NET_ADMIN',
      '--read-only',
      '--tmpfs',
      '/mnt',
      '--volume',
      `${base}/volume:/vol`,
    ]
    const script =
      'id -u; id -g; pwd; echo $A; hostname; ! touch /x 2>/dev/null && touch /mnt/x && grep CapBnd /proc/self/status | cut -c 20-'
    const { stdout, stderr } = await run(['--rm', ...options], 'sh', '-c', script)
    expect([stderr, stdout.split('\n').slice(0, 5)]).toEqual(['', ['5', '6', '/data', '1', 'podded']])
    expect(Number.parseInt(stdout.trim().split('\n').at(-1) ?? '', 16) & 0x1000).toBe(0x1000)
  })

  test('run --detach, ps, logs, exec, stop and rm', async () => {
    expect(
      await run(
        ['--detach', '--name', 'c1'],
        'sh',
        '-c',
        'trap "exit 5" TERM; echo logged; while :; do sleep 0.05; done',
      ),
    ).toMatchObject({ status: 0 })
    expect((await podman('ps', '--format', '{{.Names}} {{.State}}')).stdout).toMatch(/^c1 Up/)
    await poll(async () => (await podman('logs', 'c1')).stdout === 'logged\n', 'the log')
    expect(await podman('exec', 'c1', 'sh', '-c', 'echo inside; exit 7')).toMatchObject({
      status: 7,
      stdout: 'inside\n',
    })
    expect(await podman('exec', '--user', '9', '--workdir', '/tmp', 'c1', 'sh', '-c', 'id -u; pwd')).toMatchObject({
      stdout: '9\n/tmp\n',
    })
    expect(await podman('exec', 'c1', 'nosuch')).toMatchObject({ status: 127 })
    expect(await podman('stop', '--time', '5', 'c1')).toMatchObject({ status: 0 })
    expect((await podman('inspect', '--format', '{{.State.ExitCode}}', 'c1')).stdout).toBe('5\n')
    expect(await podman('rm', 'c1')).toMatchObject({ status: 0 })
  })

  test('pause, unpause and top', async () => {
    await run(['--detach', '--name', 'c2'], 'sleep', '1000')
    expect(await podman('pause', 'c2')).toMatchObject({ status: 0 })
    expect((await podman('inspect', '--format', '{{.State.Status}}', 'c2')).stdout).toBe('paused\n')
    expect(await podman('unpause', 'c2')).toMatchObject({ status: 0 })
    expect((await podman('top', 'c2', 'pid')).stdout).toContain('1\n')
    expect(await podman('rm', '--force', '--time', '0', 'c2')).toMatchObject({ status: 0 })
  })

  test('--tty gives a terminal', async () => {
    const { status, stdout } = await run(['--rm', '--tty'], 'sh', '-c', 'readlink /proc/self/fd/0; exit 4')
    expect([status, stdout]).toEqual([4, '/dev/pts/0\r\n'])
  })

  test('--memory ends a program that takes more', async () => {
    expect(
      await run(['--name', 'c3', '--memory', '32m', '--memory-swap', '32m'], 'probe', 'touch', '64'),
    ).toMatchObject({ status: 137 })
    await podman('rm', 'c3')
  })

  test('--pids-limit is a limit', async () => {
    expect((await run(['--rm', '--pids-limit', '12'], 'probe', 'forks', '50')).stdout).toMatch(/^\d\n|^1[01]\n/)
  })

  test('two containers of a pod share namespaces', async () => {
    await run(['--detach', '--name', 'c4'], 'sleep', '1000')
    const shared = ['--network', 'container:c4', '--ipc', 'container:c4', '--pid', 'container:c4']
    const { stdout } = await podman(
      'run',
      '--rm',
      ...LIMITS,
      ...shared,
      '--rootfs',
      join(base, 'rootfs'),
      'readlink',
      '/proc/self/ns/net',
      '/proc/1/ns/net',
    )
    const [own, first] = stdout.trim().split('\n')
    expect(own).toBe(first ?? '')
    await podman('rm', '--force', '--time', '0', 'c4')
  })

  test('--uidmap makes a user namespace', async () => {
    const { stdout } = await run(['--rm', '--uidmap', '0:200000:5000'], 'cat', '/proc/self/uid_map')
    expect(stdout.trim().split(/\s+/)).toEqual(['0', '200000', '5000'])
  })
})

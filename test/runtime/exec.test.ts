/** `exec` from end to end: a busybox container, the command line from source, effects seen from inside. */

import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { requirement, testIf } from '../support/requirement.ts'
import { finish, Machine, until } from './verbs-machine.ts'

const test = testIf('root', 'command busybox')
const able = requirement('root').ok && requirement('command busybox').ok

describe('exec', () => {
  let machine: Machine
  let id: string

  beforeAll(async () => {
    if (!able) return
    machine = new Machine()
    id = await machine.container('exec')
  })

  afterAll(async () => {
    if (!able) return
    await using _ = machine
    await machine.run(['delete', '--force', id])
    expect(machine.leftovers()).toEqual([])
  })

  const exec = (...args: string[]) => machine.run(['exec', ...args])
  const inside = async (...args: string[]) => (await exec(...args)).stdout

  test('gives the process our stdin, stdout and stderr', async () => {
    const outcome = await machine.run(['exec', id, 'sh', '-c', 'cat; echo said >&2'], 'input\n')
    expect(outcome).toEqual({ status: 0, stdout: 'input\n', stderr: 'said\n' })
  })

  test('leaves no file descriptor of ours open in the process', async () => {
    // The shell's own list of its descriptors is opened by the glob, and gone when echo prints it.
    expect(await inside(id, 'sh', '-c', 'echo /proc/$$/fd/*')).toMatch(
      /^\/proc\/(\d+)\/fd\/0 \S+\/1 \S+\/2( \S+\/\d+)?\n$/,
    )
    for (const fd of ['0', '1', '2'])
      expect(await inside(id, 'readlink', `/proc/self/fd/${fd}`)).not.toContain('anon_inode')
  })

  test('joins every namespace and the cgroup of the container', async () => {
    const state = JSON.parse((await machine.run(['state', id])).stdout)
    const own = await inside(id, 'sh', '-c', 'cd /proc/self/ns; for n in *; do readlink $n; done')
    const init = await inside(id, 'sh', '-c', 'cd /proc/1/ns; for n in *; do readlink $n; done')
    expect(own).toBe(init)
    const cgroup = await inside(id, 'cat', '/proc/self/cgroup')
    expect(cgroup.split('\n').filter(line => !line.endsWith('/') && line !== '').length).toBeGreaterThan(0)
    expect(cgroup).toBe(readFileSync(`/proc/${state.pid}/cgroup`, 'utf8'))
  })

  test('returns the status of the process, and 128 and the signal that killed it', async () => {
    expect((await exec(id, 'sh', '-c', 'exit 7')).status).toBe(7)
    expect((await exec(id, 'sh', '-c', 'kill -9 $$')).status).toBe(137)
  })

  test('passes options on to the command once it has begun', async () => {
    expect(await inside(id, 'echo', '-e', '--user', 'x')).toBe('--user x\n')
  })

  test('runs as the user, with the groups, in the directory and with the variables that are asked for', async () => {
    const options = ['--user', '5:6', '-g', '7', '-g', '8', '--cwd', '/tmp', '-e', 'A=1', '--env', 'B=x=y']
    expect(await inside(...options, id, 'sh', '-c', 'id; pwd; echo $A $B')).toBe(
      'uid=5 gid=6 groups=7,8\n/tmp\n1 x=y\n',
    )
  })

  test('adds a capability to what the container has', async () => {
    const text = await inside('--cap', 'CAP_NET_ADMIN', id, 'grep', '-E', 'Cap(Bnd|Eff|Prm)', '/proc/self/status')
    expect(text.match(/0000000020001420/g)).toHaveLength(3)
    expect(await inside(id, 'grep', 'CapBnd', '/proc/self/status')).toContain('0000000020000420')
  })

  test('reads the process from a file', async () => {
    const file = join(machine.base, 'process.json')
    writeFileSync(
      file,
      JSON.stringify({
        cwd: '/tmp',
        args: ['sh', '-c', 'id -u; pwd; echo $X'],
        env: ['PATH=/bin', 'X=y'],
        user: { uid: 3 },
      }),
    )
    expect(await inside('--process', file, id)).toBe('3\n/tmp\ny\n')
  })

  test('refuses a process file that is malformed, naming the property', async () => {
    const file = join(machine.base, 'bad.json')
    writeFileSync(file, '{"cwd": "/", "args": "sh"}')
    expect(await exec('--process', file, id)).toMatchObject({ status: 255, stderr: expect.stringContaining('args') })
  })

  const failures = [
    ['a name that is nowhere in PATH', ['nosuch'], 'exec: "nosuch": executable file not found in $PATH'],
    ['a path that does not exist', ['/nosuch'], 'exec: "/nosuch": stat /nosuch: no such file or directory'],
    ['a file that is not executable', ['/etc/not-executable'], 'exec: "/etc/not-executable": permission denied'],
    ['a directory', ['/etc'], 'exec: "/etc": permission denied'],
    ['a script without its interpreter', ['/bin/no-interpreter'], 'no such file or directory'],
  ] as const
  for (const [what, command, text] of failures)
    test(`fails with 255 and says what engines look for: ${what}`, async () => {
      const { status, stderr } = await exec(id, ...command)
      expect(status).toBe(255)
      expect(stderr).toContain(text)
    })

  test('fails with 255 without a command, without the container and for a user that is no id', async () => {
    expect(await exec(id)).toMatchObject({ status: 255, stderr: expect.stringContaining('args is empty') })
    expect(await exec('nosuch', 'true')).toMatchObject({
      status: 255,
      stderr: expect.stringContaining('does not exist'),
    })
    expect(await exec('-u', 'root', id, 'true')).toMatchObject({
      status: 255,
      stderr: expect.stringContaining('"root" is no id'),
    })
  })

  test('writes the reason into a JSON log, where conmon and containerd read it', async () => {
    const log = join(machine.base, 'log.json')
    await machine.run(['--log', log, '--log-format', 'json', 'exec', id, 'nosuch'])
    const last = JSON.parse(readFileSync(log, 'utf8').trim().split('\n').at(-1) ?? '')
    expect(last).toMatchObject({ level: 'error', msg: expect.stringContaining('executable file not found in $PATH') })
  })

  test('--detach returns while the process runs, with its id in the pid file', async () => {
    const file = join(machine.base, 'pid')
    const words = machine.command('exec', '--detach', '--pid-file', file, id, 'sleep', '999')
    expect(await Bun.spawn([...words], { stdio: ['ignore', 'ignore', 'ignore'] }).exited).toBe(0)
    const pid = Number(readFileSync(file, 'utf8'))
    expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toBe('sleep\x00999\x00')
    process.kill(pid, 'SIGKILL')
    await until(() => !existsSync(`/proc/${pid}`))
  })

  test('passes a signal on to the process', async () => {
    const child = machine.spawn([
      'exec',
      id,
      'sh',
      '-c',
      'trap "echo caught; exit 9" TERM; echo ready; while :; do sleep 0.1; done',
    ])
    const reader = child.stdout.getReader()
    const text = async () => new TextDecoder().decode((await reader.read()).value)
    expect(await text()).toBe('ready\n')
    child.kill('SIGTERM')
    expect(await text()).toBe('caught\n')
    expect(await child.exited).toBe(9)
  })

  test('--tty gives the process a controlling terminal of the container', async () => {
    const { status, stdout } = await exec(
      '--tty',
      id,
      'sh',
      '-c',
      'readlink /proc/self/fd/0; echo > /dev/tty && test -t 1 && echo yes; exit 4',
    )
    expect(stdout.replaceAll('\r', '')).toMatch(/^\/dev\/pts\/\d+\n\nyes\n$/)
    expect(status).toBe(4)
  })

  test('--tty loses no output of a process that ends at once', async () => {
    for (let i = 0; i < 5; i++)
      expect((await exec('-t', id, 'echo', 'x'.repeat(3000))).stdout.trim()).toHaveLength(3000)
  })

  testIf(
    'root',
    'command busybox',
    'command script',
  )('--tty passes the size of our terminal on', async () => {
    const command = machine
      .command('exec', '-t', id, 'stty', 'size')
      .map(word => `'${word}'`)
      .join(' ')
    // Its standard input stays open: at its end script would type into the terminal.
    const script = Bun.spawn(['script', '-qec', `stty rows 33 cols 77; ${command}`, '/dev/null'], {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'pipe',
    })
    expect((await new Response(script.stdout).text()).trim()).toBe('33 77')
    script.stdin.end()
    expect(await script.exited).toBe(0)
  })

  test('refuses terminals that nobody would have', async () => {
    expect((await exec('-t', '-d', id, 'true')).stderr).toContain('expected --console-socket')
    expect((await exec('--console-socket', '/x', id, 'true')).stderr).toContain('--console-socket is for a detached')
  })

  test('refuses a paused container, except with --ignore-paused, when it runs after the resume', async () => {
    await machine.run(['pause', id])
    expect(await exec(id, 'true')).toMatchObject({ status: 255, stderr: expect.stringContaining('paused') })
    const late = machine.spawn(['exec', '--ignore-paused', id, 'echo', 'late'])
    await until(async () => JSON.parse((await machine.run(['ps', '-f', 'json', id])).stdout).length > 1)
    await machine.run(['resume', id])
    expect(await finish(late)).toMatchObject({ status: 0, stdout: 'late\n' })
  })

  test('--cgroup runs it in a cgroup below, which must exist', async () => {
    expect(await exec('--cgroup', 'nosuch', id, 'true')).toMatchObject({
      status: 255,
      stderr: expect.stringContaining('ENOENT'),
    })
    expect(await exec('--cgroup', '../..', id, 'true')).toMatchObject({
      status: 255,
      stderr: expect.stringContaining('".."'),
    })
  })

  test('--no-new-privs and --preserve-fds', async () => {
    expect(await inside('--no-new-privs=false', id, 'grep', 'NoNewPrivs', '/proc/self/status')).toContain('\t0')
    expect(await inside('--no-new-privs', id, 'grep', 'NoNewPrivs', '/proc/self/status')).toContain('\t1')
    const words = machine.command('exec', '--preserve-fds', '2', id, 'sh', '-c', 'cat <&4').map(word => `'${word}'`)
    const shell = Bun.spawn(['sh', '-c', `${words.join(' ')} 3</dev/null 4<<END\nkept\nEND`], {
      stdin: 'ignore',
      stdout: 'pipe',
    })
    expect(await new Response(shell.stdout).text()).toBe('kept\n')
  })

  test('--preserve-fds refuses fds that are not open instead of giving away its own', async () => {
    const outcome = await exec('--preserve-fds', '2', id, 'true')
    expect(outcome).toMatchObject({
      status: 255,
      stderr: expect.stringContaining('Cannot preserve fd "3": it is not open'),
    })
  })
})

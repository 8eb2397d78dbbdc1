/** `berth run` and whoever called it: streams, the terminal, signals, and a client that dies. */

import { describe, expect } from 'bun:test'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { finish, until } from '../runtime/verbs-machine.ts'
import { ROOT } from '../support/group.ts'
import { type EngineBox, engineTest } from './engine-box.ts'

const KIB = 1024

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** A shell command line whose first words are the box's `berth`. */
async function shell(box: EngineBox, script: string): Promise<{ readonly status: number; readonly stdout: string }> {
  return await finish(
    Bun.spawn(['bash', '-c', script, ...box.command], { stdin: new Uint8Array(), stdout: 'pipe', stderr: 'pipe' }),
  )
}

describe('streams of berth run', () => {
  engineTest('-i passes 10 MB through unchanged', async box => {
    const bytes = new Uint8Array(10_000 * KIB).map((_, index) => (index * 31 + (index >> 9)) & 0xff)
    const file = box.file('input', bytes)
    const berth = '"$0" "$@" run --rm -i host'
    const { stdout } = await shell(
      box,
      `cat ${file} | ${berth} sha256sum; ${berth} sha256sum < ${file}; ${berth} cat < ${file} | sha256sum`,
    )
    expect(stdout).toBe(`${sha256(bytes)}  -\n`.repeat(3))
  })

  engineTest('30 MB of output reach a slow reader whole', async box => {
    const { stdout } = await shell(
      box,
      '"$0" "$@" run --rm host sh -c "seq 1 4200000 | head -c 30000000" | (for i in 1 2 3 4 5; do sleep 0.1; head -c 1000000; done; cat) | sha256sum; seq 1 4200000 | head -c 30000000 | sha256sum',
    )
    const [inside, outside] = stdout.split('\n')
    expect(inside).toBe(outside ?? '')
  })

  engineTest('a reader who goes away ends the container, with 141', async box => {
    const { stdout } = await shell(
      box,
      '"$0" "$@" run --rm host yes | head -c 10; echo; echo "$PIPESTATUS"; "$0" "$@" run --rm host yes | head -c 4 > /dev/null; echo "$PIPESTATUS"',
    )
    expect(stdout).toEndWith('\n141\n')
  })

  engineTest('standard output and error stay apart, and stdin is empty without -i', async box => {
    expect(await box.sh([], 'echo out; echo err >&2; cat; exit 3')).toEqual({
      status: 3,
      stdout: 'out\n',
      stderr: 'err\n',
    })
  })
})

/** A terminal with `berth run -it` on it. */
class Screen implements AsyncDisposable {
  #text = ''
  readonly #child: Bun.Subprocess
  readonly #terminal: Bun.Terminal

  constructor(command: readonly string[]) {
    const data = (_: unknown, bytes: Uint8Array): void => {
      this.#text += new TextDecoder().decode(bytes)
    }
    this.#child = Bun.spawn([...command], { cwd: ROOT, terminal: { cols: 77, rows: 33, data } })
    const { terminal } = this.#child
    if (terminal === undefined) throw new Error('Bun gave the child no terminal')
    this.#terminal = terminal
  }

  /** Types a line and waits until a text is on the screen; forgets all before it. */
  async type(line: string, awaited: string): Promise<void> {
    this.#terminal.write(line)
    await until(() => this.#text.includes(awaited)).catch((error: unknown) => {
      throw new Error(`the screen lacks ${JSON.stringify(awaited)}: ${JSON.stringify(this.#text)}`, { cause: error })
    })
    this.#text = this.#text.slice(this.#text.indexOf(awaited) + awaited.length)
  }

  resize(columns: number, rows: number): void {
    this.#terminal.resize(columns, rows)
  }

  get exited(): Promise<number> {
    return this.#child.exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill()
    await this.#child.exited
    this.#terminal.close()
  }
}

describe('berth run -it', () => {
  engineTest('is a terminal with a size, resize, ^C, ^D and an exit code', async box => {
    await using screen = new Screen([...box.command, 'run', '--rm', '-it', '-e', 'PS1=ready> ', 'host', 'sh'])
    await screen.type('', 'ready> ')
    await screen.type('tty\r', '/dev/pts/0')
    await screen.type('stty size\r', '33 77')
    screen.resize(50, 20)
    await screen.type('until [ "$(stty size)" = "20 50" ]; do sleep 0.05; done; echo res""ized\r', 'resized')
    await screen.type('echo sleep""ing; sleep 100\r', 'sleeping')
    await screen.type('\x03', 'ready> ')
    await screen.type('echo status=$?\r', 'status=130')
    await screen.type('sh -c "cat; exit 5"; echo after=$?\r', 'cat')
    await screen.type('line\r', 'line\r\nline')
    await screen.type('\x04', 'after=5')
    await screen.type('exit 9\r', 'exit')
    expect(await screen.exited).toBe(9)
  })

  engineTest('without a terminal to read from is an error', async box => {
    const { status, stderr } = await box.run('-it', 'host', 'true')
    expect([status, stderr]).toEqual([125, 'berth: Cannot run with -it: the input device is not a TTY\n'])
  })
})

describe('signals of berth run', () => {
  const trap = 'trap "echo got; exit 7" USR1; echo ready; while :; do sleep 0.05; done'

  engineTest('are passed on to the program', async box => {
    const running = await box.start(['--rm', 'host', 'sh', '-c', trap], 'ready')
    running.kill('SIGUSR1')
    expect(await running.exited).toBe(7)
    expect(running.read()).toBe('ready\ngot\n')
  })

  engineTest('--init passes them on, and reaps what others leave', async box => {
    const orphans = 'for i in 1 2 3; do (sleep 0.01 &); done; sleep 0.3; ps ax -o stat= | grep -c Z; echo ready'
    const running = await box.start(['--rm', '--init', 'host', 'sh', '-c', `${orphans}; exec sleep 100`], 'ready')
    expect(running.read()).toBe('0\nready\n')
    running.kill('SIGTERM')
    expect(await running.exited).toBe(143)
  })

  engineTest('--sig-proxy=false keeps them away: the client ends and the container goes on', async box => {
    const args = ['--rm', '--sig-proxy=false', '--name', 'left', 'host', 'sh', '-c', trap]
    const running = await box.start(args, 'ready')
    running.kill('SIGTERM')
    expect(await running.exited).toBe(143)
    expect((await box.berth(['ps'])).stdout).toMatch(/running +left\n$/)
    expect(await box.berth(['rm', '--force', 'left'])).toEqual({ status: 0, stdout: 'left\n', stderr: '' })
  })
})

describe('a client that is killed', () => {
  engineTest('leaves a container that goes on, and that the next run puts away when it has ended', async box => {
    const cid = box.path('cid')
    const program = `echo ready; while [ ! -e ${box.path('end')} ]; do sleep 0.05; done`
    const volume = ['-v', `${box.base}:${box.base}:ro`]
    const running = await box.start(
      ['--rm', '--cidfile', cid, ...volume, '--name', 'orphan', 'host', 'sh', '-c', program],
      'ready',
    )
    const id = readFileSync(cid, 'utf8')
    running.kill('SIGKILL')
    await running.exited
    expect((await box.berth(['ps', '-q'])).stdout).toBe(`${id.slice(0, 12)}\n`)
    box.file('end', '')
    await until(async () => {
      await box.run('host', 'true')
      return !existsSync(box.path('data/containers', id))
    })
    expect((await box.berth(['ps', '-aq'])).stdout).toBe('')
  })
})

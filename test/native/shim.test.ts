import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { chmodSync, existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectShim } from '../../src/host/shim-client.ts'
import { encodeShimFrame } from '../../src/host/shim-frame.ts'
import { testIf } from '../support/requirement.ts'
import {
  type BUILDS,
  Collected,
  compileDriver,
  Driver,
  type DriverOptions,
  rawClient,
  until,
  waitsInWrite,
} from './shim-driver.ts'

const binaries = mkdtempSync(join(tmpdir(), 'berth-shim-driver-'))
const BOTH = { stdout: true, stderr: true }
const TIME_LIMIT_MS = 60_000
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

afterAll(() => rmSync(binaries, { recursive: true, force: true }))

for (const build of ['static', 'sanitized'] as const satisfies readonly (keyof typeof BUILDS)[]) {
  const binary = join(binaries, build)
  const start = (argv: readonly string[], options: DriverOptions = {}) => Driver.start(binary, options, argv)
  const sh = (script: string, options: DriverOptions = {}) => start(['sh', '-c', script], options)

  /** The shim itself has ended well, and no sanitizer has said a word. */
  async function expectCleanEnd(driver: Driver): Promise<void> {
    expect(await driver.ended()).toEqual({ stderr: '', code: 0 })
  }

  describe(`the shim (${build})`, () => {
    beforeAll(() => compileDriver(binary, build), TIME_LIMIT_MS)
    const shimTest = testIf('command cc')

    describe('output', () => {
      shimTest(
        'reaches a slow client complete and in order, and makes the container wait meanwhile',
        async () => {
          await using driver = await sh('read go; seq 1 6600000')
          let count = 0
          let largest = 0
          const hash = new Bun.CryptoHasher('sha256')
          using client = await driver.connect({
            onStdout: async (chunk: Uint8Array) => {
              count += chunk.length
              largest = Math.max(largest, chunk.length)
              hash.update(chunk)
              if (count % 7 === 0) await new Promise(resolve => setImmediate(resolve))
            },
          })
          await client.attach(BOTH)
          await client.write(bytes('go\n'))
          expect(await client.exited).toEqual({ code: 0, signal: 0 })
          const expected = Bun.spawnSync(['seq', '1', '6600000'], { maxBuffer: 1 << 28 }).stdout
          expect(count).toBe(expected.length)
          expect(hash.digest('hex')).toBe(new Bun.CryptoHasher('sha256').update(expected).digest('hex'))
          expect(largest).toBeLessThanOrEqual(64 * 1024)
          await expectCleanEnd(driver)
        },
        TIME_LIMIT_MS,
      )

      shimTest('stops being read while a client does not take it, and goes on when that client is gone', async () => {
        await using driver = await sh('read go; seq 1 300000; echo end >&2')
        const stopped = await rawClient(driver.socketPath)
        stopped.pause()
        stopped.write(encodeShimFrame(4, Uint8Array.of(1, 0, 0, 0)))
        const stderr = new Collected()
        using client = await driver.connect({ onStderr: stderr.add })
        await client.attach({ stdout: false, stderr: true })
        await client.write(bytes('go\n'))
        await until('the container to wait in a write', () => waitsInWrite(driver))
        expect(stderr.text).toBe('')
        stopped.destroy()
        expect(await client.exited).toEqual({ code: 0, signal: 0 })
        expect(stderr.text).toBe('end\n')
        await expectCleanEnd(driver)
      })

      shimTest('reaches every client that asked for the stream, and no other', async () => {
        await using driver = await sh('read go; echo out; echo err >&2')
        const seen = [new Collected(), new Collected(), new Collected()] as const
        using both = await driver.connect({ onStdout: seen[0].add, onStderr: seen[0].add })
        using err = await driver.connect({ onStdout: seen[1].add, onStderr: seen[1].add })
        using none = await driver.connect({ onStdout: seen[2].add, onStderr: seen[2].add })
        await both.attach(BOTH)
        await err.attach({ stdout: false, stderr: true })
        await none.write(bytes('go\n'))
        const exits = await Promise.all([both.exited, err.exited, none.exited])
        expect(exits.map(({ code }) => code)).toEqual([0, 0, 0])
        expect(seen[0].text.split('\n').toSorted()).toEqual(['', 'err', 'out'])
        expect(seen.slice(1).map(each => each.text)).toEqual(['err\n', ''])
        await expectCleanEnd(driver)
      })

      shimTest('goes on when a client breaks off in the middle of it', async () => {
        await using driver = await sh('read go; seq 1 200000')
        const broken = await rawClient(driver.socketPath)
        broken.write(encodeShimFrame(4, Uint8Array.of(1, 0, 0, 0)))
        broken.on('data', () => broken.destroy())
        const stdout = new Collected()
        using client = await driver.connect({ onStdout: stdout.add })
        await client.attach(BOTH)
        await client.write(bytes('go\n'))
        expect(await client.exited).toEqual({ code: 0, signal: 0 })
        expect(stdout.text.trimEnd().split('\n').length).toBe(200_000)
        await expectCleanEnd(driver)
      })

      shimTest('still flows to a client that has shut down its sending side', async () => {
        await using driver = await sh('cat; echo end')
        const half = await rawClient(driver.socketPath)
        const received = new Collected()
        half.on('data', received.add)
        const ended = new Promise(resolve => half.on('end', resolve))
        half.write(encodeShimFrame(4, Uint8Array.of(1, 0, 0, 0)))
        half.write(encodeShimFrame(0, bytes('text\n')))
        half.end(encodeShimFrame(1))
        await ended
        expect(received.text).toContain('text\n')
        expect(received.text).toContain('end\n')
        await expectCleanEnd(driver)
      })
    })

    describe('stdin', () => {
      shimTest('comes back through cat byte by byte, and CLOSE_STDIN ends it after what was written', async () => {
        await using driver = await start(['cat'])
        const stdout = new Collected()
        using client = await driver.connect({ onStdout: stdout.add })
        await client.attach(BOTH)
        const text = 'berth '.repeat(500_000)
        const written = client.write(bytes(text))
        await client.closeStdin()
        await written
        expect(await client.exited).toEqual({ code: 0, signal: 0 })
        expect(stdout.text === text).toBe(true)
        await expectCleanEnd(driver)
      })

      shimTest('stays open when a client leaves, and takes what that client had sent', async () => {
        await using driver = await start(['cat'])
        const stdout = new Collected()
        using client = await driver.connect({ onStdout: stdout.add })
        await client.attach(BOTH)
        const leaving = await driver.connect()
        await leaving.write(bytes('from one\n'))
        leaving.close()
        await until('the first line', () => stdout.text === 'from one\n')
        await client.write(bytes('from two\n'))
        await until('the second line', () => stdout.text === 'from one\nfrom two\n')
        await client.closeStdin()
        expect(await client.exited).toEqual({ code: 0, signal: 0 })
        await expectCleanEnd(driver)
      })

      shimTest('is not read from the client while the container does not take it', async () => {
        await using driver = await start(['sleep', '1000'])
        using client = await driver.connect()
        let taken = false
        const writing = client.write(new Uint8Array(8 * 1024 * 1024)).then(() => {
          taken = true
        })
        writing.catch(() => {})
        using other = await driver.connect()
        await other.attach(BOTH)
        expect(taken).toBe(false)
        await other.signal(9)
        expect(await other.exited).toEqual({ code: 137, signal: 9 })
        expect(await client.exited).toEqual({ code: 137, signal: 9 })
        await expectCleanEnd(driver)
      })

      shimTest('is dropped when the container has closed it or never had one', async () => {
        for (const stdio of ['pipe', 'null'] as const) {
          const script = 'exec 0<&-; trap "exit 3" TERM; echo ready; while :; do sleep 0.01; done'
          await using driver = await sh(script, { stdio, maxBytes: 0 })
          await until('the trap', () => driver.log().includes('ready'))
          using client = await driver.connect()
          await client.attach(BOTH)
          await client.write(new Uint8Array(300_000))
          await client.closeStdin()
          await client.write(bytes('more'))
          await client.signal(15)
          expect(await client.exited).toEqual({ code: 3, signal: 0 })
          await expectCleanEnd(driver)
        }
      })
    })

    describe('a terminal', () => {
      shimTest('has the size it was given, tells the container of it, and ends with it', async () => {
        const script = 'trap "stty size; exit 4" WINCH; stty size; echo ready; while :; do sleep 0.01; done'
        await using driver = await sh(`read go; ${script}`, { stdio: 'pty', maxBytes: 0 })
        const stdout = new Collected()
        using client = await driver.connect({ onStdout: stdout.add })
        await client.attach(BOTH)
        await client.resize(30, 100)
        await client.write(bytes('go\n'))
        await until('the script', () => stdout.text.includes('ready'))
        await client.closeStdin()
        await client.resize(41, 141)
        expect(await client.exited).toEqual({ code: 4, signal: 0 })
        expect(stdout.text).toBe('go\r\n30 100\r\nready\r\n41 141\r\n')
        await expectCleanEnd(driver)
        expect(driver.log()).toMatch(/^(\S+Z stdout F [^\n]*\r\n){4}$/)
      })

      shimTest('gives its output complete', async () => {
        await using driver = await sh('read go; seq 1 100000', { stdio: 'pty' })
        const stdout = new Collected()
        using client = await driver.connect({ onStdout: stdout.add })
        await client.attach(BOTH)
        await client.write(bytes('go\n'))
        expect(await client.exited).toEqual({ code: 0, signal: 0 })
        expect(stdout.text.trimEnd().split('\r\n').length).toBe(100_001)
        await expectCleanEnd(driver)
      })
    })

    describe('the end', () => {
      const ends: readonly (readonly [script: string, code: number, signal: number, record: RegExp])[] = [
        ['exit 0', 0, 0, /^code=0 signal=0 core=0 at=\d{10}\.\d{9}\n$/],
        ['exit 42', 42, 0, /^code=42 signal=0 core=0 at=\d{10}\.\d{9}\n$/],
        ['kill -TERM $$', 143, 15, /^code=143 signal=15 core=0 at=\d{10}\.\d{9}\n$/],
      ]
      for (const [script, code, signal, record] of ends) {
        shimTest(`"${script}" gives EXIT ${code}, ${signal} and an exit record that is there before it`, async () => {
          await using driver = await sh(`read go; ${script}`)
          using client = await driver.connect()
          await client.write(bytes('go\n'))
          expect(await client.exited).toEqual({ code, signal })
          expect(driver.exitRecord()).toMatch(record)
          expect(existsSync(`${driver.directory}.exit/exit.tmp`)).toBe(false)
          await expectCleanEnd(driver)
        })
      }

      shimTest('comes at once when a grandchild keeps the pipes and writes on', async () => {
        await using driver = await sh('read go; { echo $$; exec yes; } & echo mine; exit 5')
        const stdout = new Collected()
        using client = await driver.connect({ onStdout: stdout.add })
        await client.attach(BOTH)
        await client.write(bytes('go\n'))
        expect(await client.exited).toEqual({ code: 5, signal: 0 })
        expect(stdout.text).toContain('mine\n')
        await expectCleanEnd(driver)
      })

      shimTest('leaves the exit record when no client ever came', async () => {
        await using driver = await sh('exit 6')
        await expectCleanEnd(driver)
        expect(driver.exitRecord()).toMatch(/^code=6 /)
        expect(await driver.connect().catch(error => error.category)).toBe('unavailable')
      })

      shimTest(
        'serves a client that connected before the shim ran, with all output, after the child ended',
        async () => {
          await using driver = await sh('echo early; exit 7', { stdio: 'late' })
          const stdout = new Collected()
          using client = await driver.connect({ onStdout: stdout.add })
          const attached = client.attach(BOTH)
          driver.process.stdin.write('x')
          await driver.process.stdin.flush()
          await attached
          expect(await client.exited).toEqual({ code: 7, signal: 0 })
          expect(stdout.text).toBe('early\n')
          await expectCleanEnd(driver)
        },
      )

      shimTest(
        'does not wait longer than its patience for a client that takes nothing',
        async () => {
          await using driver = await sh('read go; seq 1 300000')
          const stopped = await rawClient(driver.socketPath)
          stopped.pause()
          stopped.write(encodeShimFrame(4, Uint8Array.of(1, 0, 0, 0)))
          using client = await driver.connect()
          await client.write(bytes('go\n'))
          await until('the child to wait', () => waitsInWrite(driver))
          await client.signal(9)
          expect(await client.exited).toEqual({ code: 137, signal: 9 })
          await expectCleanEnd(driver)
          stopped.destroy()
        },
        TIME_LIMIT_MS,
      )

      shimTest('of an orphan that was reparented to the shim leaves no zombie and nothing else', async () => {
        await using driver = await sh('read go; (true &); (exit 3 &); echo ready; read go')
        const stdout = new Collected()
        using client = await driver.connect({ onStdout: stdout.add })
        await client.attach(BOTH)
        await client.write(bytes('go\n'))
        await until('the orphans', () => stdout.text === 'ready\n')
        await until('the orphans to be reaped', () => driver.children().length === 1)
        await client.write(bytes('go\n'))
        expect(await client.exited).toEqual({ code: 0, signal: 0 })
        await expectCleanEnd(driver)
      })

      shimTest('is the container’s: signals to the shim do nothing', async () => {
        await using driver = await sh('read go; exit 8')
        using client = await driver.connect()
        await client.attach(BOTH)
        for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const) driver.process.kill(signal)
        await client.write(bytes('go\n'))
        expect(await client.exited).toEqual({ code: 8, signal: 0 })
        await expectCleanEnd(driver)
      })

      shimTest('rejects exited with unavailable when the shim itself is killed', async () => {
        await using driver = await start(['sleep', '1000'])
        using client = await driver.connect()
        await client.attach(BOTH)
        const [child = 0] = driver.children()
        driver.process.kill('SIGKILL')
        expect(await client.exited.catch(error => error.category)).toBe('unavailable')
        process.kill(child, 'SIGKILL')
      })
    })

    describe('a client', () => {
      const bad: readonly (readonly [what: string, frame: Uint8Array])[] = [
        ['an unknown type', encodeShimFrame(9)],
        ['padding that is not zero', Uint8Array.of(0, 1, 0, 0, 0, 0, 0, 0)],
        ['a payload over 64 KiB', Uint8Array.of(0, 0, 0, 0, 1, 0, 1, 0)],
        ['RESIZE of two bytes', encodeShimFrame(2, Uint8Array.of(1, 1))],
        ['CLOSE_STDIN with a payload', encodeShimFrame(1, Uint8Array.of(1))],
        ['signal 0', encodeShimFrame(3, Uint8Array.of(0, 0, 0, 0))],
        ['signal 65', encodeShimFrame(3, Uint8Array.of(65, 0, 0, 0))],
        ['unknown ATTACH bits', encodeShimFrame(4, Uint8Array.of(4, 0, 0, 0))],
      ]
      shimTest('that sends a bad frame is closed, and the others are served on', async () => {
        await using driver = await start(['cat'])
        const stdout = new Collected()
        using client = await driver.connect({ onStdout: stdout.add })
        await client.attach(BOTH)
        for (const [what, frame] of bad) {
          const socket = await rawClient(driver.socketPath)
          const closed = new Promise(resolve => socket.on('close', () => resolve(what)))
          socket.resume()
          socket.write(frame)
          expect(await closed).toBe(what)
        }
        await client.write(bytes('still'))
        await client.closeStdin()
        expect(await client.exited).toEqual({ code: 0, signal: 0 })
        expect(stdout.text).toBe('still')
        await expectCleanEnd(driver)
      })

      shimTest('may send its frames byte by byte', async () => {
        await using driver = await start(['cat'])
        const socket = await rawClient(driver.socketPath)
        const received = new Collected()
        socket.on('data', received.add)
        const ended = new Promise(resolve => socket.on('end', resolve))
        const frames = [
          encodeShimFrame(4, Uint8Array.of(1, 0, 0, 0)),
          encodeShimFrame(0, bytes('abc')),
          encodeShimFrame(1),
        ]
        for (const byte of Buffer.concat(frames)) {
          await new Promise(resolve => socket.write(Uint8Array.of(byte), resolve))
        }
        await ended
        const expected = [encodeShimFrame(4), encodeShimFrame(1, bytes('abc')), encodeShimFrame(3, new Uint8Array(8))]
        expect(received.text).toBe(Buffer.concat(expected).toString())
        await expectCleanEnd(driver)
      })

      testIf(
        'command cc',
        'root',
        'command perl',
        'command setpriv',
      )('of another user is closed unheard', async () => {
        await using driver = await start(['cat'])
        chmodSync(driver.socketPath, 0o777)
        const attach = String.raw`"\4\0\0\0\4\0\0\0\1\0\0\0"`
        const program = `use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un($ARGV[0])) or die;
          $SIG{PIPE} = "IGNORE"; syswrite S, ${attach}; print sysread(S, $_, 8) || 0`
        const perl = ['perl', '-e', program, driver.socketPath]
        const asOther = ['setpriv', '--reuid=65534', '--clear-groups', ...perl]
        const seen = [perl, asOther].map(argv => Bun.spawnSync(argv).stdout.toString())
        expect(seen).toEqual(['8', '0'])
      })

      shimTest('beyond the 256th is refused', async () => {
        await using driver = await start(['cat'])
        const clients = []
        for (let count = 0; count < 256; count++) {
          const client = await driver.connect()
          await client.attach(BOTH)
          clients.push(client)
        }
        // The connection is refused by close, which Bun may see before or after it calls the connection made.
        const refused = driver.connect().then(client => client.exited)
        expect(await refused.catch(error => error.category)).toBe('unavailable')
        await clients[0]?.closeStdin()
        const exits = await Promise.all(clients.map(client => client.exited))
        expect(exits.every(({ code }) => code === 0)).toBe(true)
        await expectCleanEnd(driver)
      })

      shimTest('reaches a socket whose path is longer than an address', async () => {
        await using driver = await start(['cat'])
        const long = join(driver.directory, 'x'.repeat(120))
        symlinkSync(`${driver.directory}.exit`, long)
        symlinkSync(driver.socketPath, join(long, 'socket'))
        using client = await connectShim(join(long, 'socket'))
        await client.closeStdin()
        expect(await client.exited).toEqual({ code: 0, signal: 0 })
        expect(await connectShim(join(long, 'absent')).catch(error => error.category)).toBe('unavailable')
        await expectCleanEnd(driver)
      })
    })
  })
}

import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { existsSync, mkdtempSync, readFileSync, rmSync, unlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requirement, testIf } from '../support/requirement.ts'
import { type BUILDS, Collected, compileDriver, Driver, type DriverOptions, until } from './shim-driver.ts'

const binaries = mkdtempSync(join(tmpdir(), 'berth-shim-driver-'))
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const LINE_LIMIT_BYTES = 16 * 1024

afterAll(() => rmSync(binaries, { recursive: true, force: true }))

interface LogLine {
  readonly time: string
  readonly stream: string
  readonly tag: string
  readonly text: string
}

/** Parses a log and fails on any line that is not one of CRI's. */
function parse(log: string): LogLine[] {
  expect(log === '' || log.endsWith('\n')).toBe(true)
  return log
    .split('\n')
    .slice(0, -1)
    .map(line => {
      const [, time = '', stream = '', tag = '', text = ''] =
        /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (stdout|stderr) ([FP]) (.*)$/s.exec(line) ?? []
      expect(time, line.slice(0, 100)).not.toBe('')
      return { time, stream, tag, text }
    })
}

const texts = (log: string): string[] => parse(log).map(({ stream, tag, text }) => `${stream} ${tag} ${text}`)

/** The bytes that a stream had, joined from its lines. */
function joined(log: string): string {
  return parse(log)
    .map(({ tag, text }) => (tag === 'F' ? `${text}\n` : text))
    .join('')
}

for (const build of ['static', 'sanitized'] as const satisfies readonly (keyof typeof BUILDS)[]) {
  const binary = join(binaries, build)
  const sh = (script: string, options: DriverOptions) => Driver.start(binary, options, ['sh', '-c', script])

  async function expectCleanEnd(driver: Driver): Promise<void> {
    expect(await driver.ended()).toEqual({ stderr: '', code: 0 })
  }

  describe(`the shim's log (${build})`, () => {
    const logTest = testIf('command cc')
    beforeAll(() => {
      if (requirement('command cc').ok) compileDriver(binary, build)
    }, 60_000)

    logTest('has a line per line of each stream, stamped with the time in UTC', async () => {
      const before = Date.now()
      await using driver = await sh('echo one; echo; echo three >&2', { maxBytes: 0 })
      await expectCleanEnd(driver)
      expect(texts(driver.log()).toSorted()).toEqual(['stderr F three', 'stdout F ', 'stdout F one'])
      for (const { time } of parse(driver.log())) {
        expect(Date.parse(time)).toBeGreaterThanOrEqual(before - 1)
        expect(Date.parse(time)).toBeLessThanOrEqual(Date.now())
      }
    })

    logTest('joins a line that is written in pieces, and tags an end without newline as partial', async () => {
      await using driver = await sh('printf a; read x; printf b; read x; printf "c\\nd"', { maxBytes: 0 })
      const stdout = new Collected()
      using client = await driver.connect({ onStdout: stdout.add })
      await client.attach({ stdout: true, stderr: false })
      await client.write(bytes('\n'))
      await until('the second piece', () => stdout.text.endsWith('b'))
      expect(driver.log()).toBe('')
      await client.write(bytes('\n'))
      await client.exited
      await expectCleanEnd(driver)
      expect(texts(driver.log())).toEqual(['stdout F abc', 'stdout P d'])
    })

    for (const [length, pieces] of [
      [LINE_LIMIT_BYTES - 1, [LINE_LIMIT_BYTES - 1]],
      [LINE_LIMIT_BYTES, [LINE_LIMIT_BYTES]],
      [LINE_LIMIT_BYTES + 1, [LINE_LIMIT_BYTES, 1]],
      [200_000, [...Array(12).fill(LINE_LIMIT_BYTES), 200_000 - 12 * LINE_LIMIT_BYTES]],
    ] as const) {
      logTest(`cuts a line of ${length} bytes into pieces of at most 16 KiB, the last one full`, async () => {
        await using driver = await sh(`head -c ${length} /dev/zero | tr '\\0' x; echo; echo after`, { maxBytes: 0 })
        await expectCleanEnd(driver)
        const lines = parse(driver.log())
        expect(lines.map(({ text }) => text.length)).toEqual([...pieces, 'after'.length])
        expect(lines.map(({ tag }) => tag).join('')).toBe(`${'P'.repeat(pieces.length - 1)}FF`)
      })
    }

    logTest(
      'is rotated before it exceeds its bytes, the newest being .1, and never more files than asked',
      async () => {
        await using driver = await sh('seq 1 2000', { maxBytes: 10_000, maxFiles: 3 })
        await expectCleanEnd(driver)
        const logs = ['.2', '.1', ''].map(suffix => driver.log(suffix))
        for (const log of logs) expect(log.length).toBeLessThanOrEqual(10_000)
        const numbers = parse(logs.join('')).map(({ text }) => Number(text))
        expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, index) => 2001 - numbers.length + index))
        expect(logs[0]?.length).toBeGreaterThan(9_900)
        expect(existsSync(`${driver.directory}/log.3`)).toBe(false)
      },
    )

    logTest('of one file starts over', async () => {
      await using driver = await sh('seq 1 2000', { maxBytes: 10_000, maxFiles: 1 })
      await expectCleanEnd(driver)
      expect(driver.log().length).toBeLessThanOrEqual(10_000)
      expect(driver.log()).toEndWith('F 2000\n')
      expect(existsSync(`${driver.directory}/log.1`)).toBe(false)
    })

    logTest('keeps every byte of a torrent of lines of many lengths', async () => {
      const script =
        'awk \'BEGIN { for (i = 0; i < 40000; i++) printf "%0" (i * 7919 % 300 + 1) "d\\n", i; printf "x" }\''
      await using driver = await sh(script, { maxBytes: 0 })
      await expectCleanEnd(driver)
      const expected = Bun.spawnSync(['sh', '-c', script], { maxBuffer: 1 << 28 }).stdout.toString()
      expect(joined(driver.log()) === expected).toBe(true)
    })

    const mountTest = testIf('command cc', 'root', 'command unshare')
    mountTest('goes on after a torn last line of a log that was there before', async () => {
      const prepare = 'printf "2026-01-01T00:00:00.000000000Z stdout F to" > "$LOG/log"'
      await using driver = await sh('echo next', { maxBytes: 0, prepare })
      await expectCleanEnd(driver)
      expect(texts(driver.log())).toEqual(['stdout F to', 'stdout F next'])
    })

    testIf(
      'command cc',
      'root',
      'command unshare',
    )('on a full disk loses lines, not the container, and says how many when there is room again', async () => {
      const prepare = 'mount -t tmpfs -o size=64k tmpfs "$LOG"; head -c 40000 /dev/zero > "$LOG/filler"'
      const script = 'read x; seq -w 1 5000; read x; echo after; read x; exit 9'
      await using driver = await sh(script, { maxBytes: 0, prepare })
      const stdout = new Collected()
      using client = await driver.connect({ onStdout: stdout.add })
      await client.attach({ stdout: true, stderr: false })
      await client.write(bytes('\n'))
      await until('the lines', () => stdout.text.endsWith('5000\n'))
      const kept = parse(driver.log()).length
      expect(kept).toBeGreaterThan(100)
      expect(kept).toBeLessThan(5000)
      unlinkSync(`/proc/${driver.process.pid}/root${driver.directory}/filler`)
      await client.write(bytes('\n'))
      await until('the last line', () => stdout.text.endsWith('after\n'))
      const [notice, after] = texts(driver.log()).slice(kept)
      expect(notice).toBe(`stderr F berth: log lines lost: ${5000 - kept}, last errno 28`)
      expect(after).toBe('stdout F after')
      await client.write(bytes('\n'))
      expect(await client.exited).toEqual({ code: 9, signal: 0 })
      await expectCleanEnd(driver)
    })
  })
}

testIf('command cc')('a running shim with a log and no client has at most 300 KB of private memory', async () => {
  const argv = ['sh', '-c', 'seq 1 300000; head -c 10000 /dev/zero; read x']
  // Two of them, so that the program's own pages count as what they are on a host with many: shared.
  await using driver = await Driver.start(join(binaries, 'static'), { maxBytes: 0 }, argv)
  await using other = await Driver.start(join(binaries, 'static'), { maxBytes: 0 }, argv)
  for (const each of [driver, other]) await until('the lines', () => each.log().includes('F 300000\n'))
  const rollup = readFileSync(`/proc/${driver.process.pid}/smaps_rollup`, 'utf8')
  const kilobytes = [...rollup.matchAll(/^Private_\w+: +(\d+) kB$/gm)].map(([, value]) => Number(value))
  const total = kilobytes.reduce((sum, each) => sum + each, 0)
  expect(total).toBeGreaterThan(0)
  expect(total).toBeLessThanOrEqual(300)
})

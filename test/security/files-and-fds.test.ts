// Class B of the published escapes: what a runtime brings along into a container: its open files, its own program, its sockets.
import { describe, expect } from 'bun:test'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SECRET, textOf } from './canary.ts'
import { CONTAINER_CAPABILITIES, type Lab, plantLink, securityTest, untilFileHas } from './lab.ts'

const test = securityTest()

/** A container of root with CAP_SYS_PTRACE that watches /proc; returns what it saw of the processes that `visit` brought in. */
async function spyOn(lab: Lab, visit: (id: string) => Promise<void>): Promise<readonly string[]> {
  const names = [...CONTAINER_CAPABILITIES, 'CAP_SYS_PTRACE', 'CAP_DAC_READ_SEARCH']
  const capabilities = { bounding: names, effective: names, permitted: names }
  const bundle = lab.bundle({ args: ['probe', 'spy'], process: { capabilities } })
  const output = await lab.start(bundle)
  await untilFileHas(output, 'watching')
  await visit(bundle.id)
  await lab.runtime('kill', bundle.id, 'KILL')
  return readFileSync(output, 'utf8').trimEnd().split('\n')
}

const VISITS = 25

describe('CVE-2016-9962: a process that joins a container with CAP_SYS_PTRACE', () => {
  const run = async (lab: Lab, ...options: readonly string[]): Promise<readonly string[]> => {
    let rootfs = ''
    const seen = await spyOn(lab, async id => {
      rootfs = readFileSync(join(lab.base, id, 'config.json'), 'utf8')
      for (let visit = 0; visit < VISITS; visit++)
        expect(await lab.runtime('exec', ...options, id, 'true')).toMatchObject({ status: 0 })
    })
    expect(rootfs).not.toBe('')
    return seen
  }

  const namesOf = (lines: readonly string[]): ReadonlySet<string> =>
    new Set(lines.filter(line => line.startsWith('directory ')).map(line => line.replace(/^directory \d+\/\S+ /, '')))

  for (const options of [[], ['--tty'], ['--user', '1000:1000']])
    test(`carries no directory of the host, with [${options.join(' ')}]`, async lab => {
      const seen = namesOf(await run(lab, ...options))
      // The container's own filesystems are mounted nowhere on the host; its root is a directory of one that is, by the name of "/".
      const [root = ''] = [...seen].filter(name => name.startsWith('/ '))
      const devices = new Set(
        [...textOf('/proc/self/mountinfo').matchAll(/^\d+ \d+ (\S+)/gm)].map(([, device]) => device),
      )
      expect([...seen].filter(name => name !== root && devices.has(/ (\S+)\/\d+$/.exec(name)?.[1]))).toEqual([])
      expect(root.endsWith(`/${statSync('/').ino}`)).toBe(false)
    })
})

describe("CVE-2019-5736: the runtime's own program", () => {
  test('is executed by processes that join, and none of them can be used to write to it', async lab => {
    const seen = await spyOn(lab, async id => {
      for (let visit = 0; visit < VISITS; visit++) await lab.runtime('exec', id, 'true')
    })
    expect(seen.filter(line => line.startsWith('writable '))).toEqual([])
    // Or the spy was too slow, and the test proves nothing. ETXTBSY alone would be no defence: it ends with the process.
    const refusals = new Set(seen.filter(line => line.startsWith('executable ')).map(line => line.split(' ')[1]))
    expect(refusals.size).toBeGreaterThan(0)
  })

  for (const [what, make] of [
    ['a script for /proc/self/exe', (path: string) => writeFileSync(path, '#!/proc/self/exe\n', { mode: 0o755 })],
    ['a link to /proc/self/exe', (path: string) => plantLink(path, '/proc/self/exe')],
  ] as const) {
    test(`does nothing as the program of a container, as ${what}`, async lab => {
      const bundle = lab.bundle({ args: ['/evil'], image: rootfs => make(join(rootfs, 'evil')) })
      const { status, stdout } = await lab.run(bundle)
      expect(status).not.toBe(0)
      expect(stdout).toBe('')
    })

    test(`does nothing as the program of an exec, as ${what}, and can't be written to`, async lab => {
      // An open file outlives the name: it is tried again when the program has ended and is no longer "busy".
      const hold = `
        while :; do for p in /proc/[0-9]*; do case $p in /proc/1|/proc/$$) continue;; esac
          { exec 9< $p/exe; } 2>/dev/null || continue
          for i in 1 2 3 4 5 6 7 8 9; do (: >> /proc/self/fd/9) 2>/dev/null && echo WRITABLE; done
        done; done`
      const bundle = lab.bundle({ args: ['sh', '-c', hold], image: rootfs => make(join(rootfs, 'evil')) })
      const output = await lab.start(bundle)
      for (let visit = 0; visit < 10; visit++)
        expect(await lab.runtime('exec', bundle.id, '/evil')).not.toMatchObject({ status: 0 })
      expect(readFileSync(output, 'utf8')).not.toContain('WRITABLE')
    })
  }
})

describe('CVE-2024-21626: a working directory that is an open file of the runtime', () => {
  const FIRST = 3
  const LAST = 255
  const AT_ONCE = 3
  // Fds are given out from below: each of the first, and of the others as many as a minute allows.
  const numbers = (): number[] =>
    Array.from({ length: LAST - FIRST + 1 }, (_, index) => FIRST + index).filter(fd => fd < 48 || fd % 9 === 3)

  /** Reads the canary by any number of steps up from the working directory, which works only outside of the container's root. */
  function search(lab: Lab): readonly string[] {
    const climb = `d=.; for n in 1 2 3 4 5 6 7 8; do cat $d${lab.canary.file} 2>/dev/null; d=$d/..; done`
    return ['sh', '-c', climb]
  }

  async function forEachFd(visit: (fd: number) => Promise<void>): Promise<void> {
    const queue = numbers()
    const work = async (): Promise<void> => {
      for (let fd = queue.shift(); fd !== undefined; fd = queue.shift()) await visit(fd)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
  }

  test(`is refused for fds from ${FIRST} to ${LAST} of a new container`, async lab => {
    const on = lab.rootfs()
    await forEachFd(async fd => {
      const { status, stdout } = await lab.run(
        lab.bundle({ on, args: search(lab), process: { cwd: `/proc/self/fd/${fd}` } }),
      )
      expect({ fd, status: status !== 0, stdout }).toEqual({ fd, status: true, stdout: '' })
    })
  }, 60_000)

  test(`is refused for fds from ${FIRST} to ${LAST} of an exec`, async lab => {
    const bundle = lab.bundle({ args: ['sleep', '1000'] })
    await lab.start(bundle)
    await forEachFd(async fd => {
      const { status, stdout } = await lab.runtime('exec', '--cwd', `/proc/self/fd/${fd}`, bundle.id, ...search(lab))
      expect({ fd, status: status !== 0, stdout }).toEqual({ fd, status: true, stdout: '' })
    })
  }, 60_000)

  test("finds nothing through the image's links, in a container and in an exec", async lab => {
    const image = (rootfs: string): void => {
      for (let fd = 3; fd < 12; fd++) plantLink(join(rootfs, `l${fd}`), `/proc/self/fd/${fd}`)
      plantLink(join(rootfs, 'up'), '/proc/self/fd/7/../../..')
    }
    const running = lab.bundle({ args: ['sleep', '1000'], image })
    await lab.start(running)
    for (const cwd of ['/l3', '/l4', '/l5', '/l6', '/l7', '/l8', '/l9', '/l10', '/l11', '/up', '/l7/../..']) {
      const made = await lab.run(lab.bundle({ args: search(lab), process: { cwd }, image }))
      expect(made.stdout).not.toContain(SECRET)
      const joined = await lab.runtime('exec', '--cwd', cwd, running.id, ...search(lab))
      expect(joined.stdout).not.toContain(SECRET)
    }
  })

  test('finds no open file of the runtime in a program', async lab => {
    const list = 'for f in /proc/self/fd/*; do case $f in */0|*/1|*/2);; *) [ -e $f ] && readlink $f;; esac; done; true'
    // The shell opens the directory that it lists and nothing else.
    const own = await lab.run(lab.bundle({ args: ['sh', '-c', list] }))
    expect(own).toMatchObject({ status: 0, stdout: '' })
    const running = lab.bundle({ args: ['sleep', '1000'] })
    await lab.start(running)
    expect(await lab.runtime('exec', running.id, 'sh', '-c', list)).toMatchObject({ status: 0, stdout: '' })
    expect(await lab.berthRun('--rootfs', lab.rootfs(), 'sh', '-c', list)).toMatchObject({ status: 0, stdout: '' })
  })
})

describe('CVE-2020-15257: sockets of the engine in the network namespace of the host', () => {
  for (const user of ['0', '1000'])
    test(`are in no container with --network host of user ${user}`, async lab => {
      const abstract = (): string[] =>
        readFileSync('/proc/net/unix', 'utf8')
          .split('\n')
          .flatMap(line => / (@\S+)$/.exec(line)?.[1] ?? [])
      const before = new Set(abstract())
      const { status, stdout } = await lab.berthRun(
        ...['--network', 'host', '-u', user, '--rootfs', lab.rootfs()],
        ...['sh', '-c', 'probe connect; grep -o " @.*" /proc/net/unix; true'],
      )
      expect(status).toBe(0)
      const reached = stdout.split('\n').flatMap(line => /(@\S+)$/.exec(line)?.[1] ?? [])
      expect(reached.filter(name => !before.has(name))).toEqual([])
      expect(reached.filter(name => /berth|shim|init/i.test(name))).toEqual([])
    })
})

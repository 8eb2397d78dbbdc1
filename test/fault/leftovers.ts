/**
 * What is left of one container: processes, mounts, cgroups, files and fds that carry its id or the marks of its test.
 * Unlike test/support/leak-check.ts it looks at nothing else, so that many containers can be made beside other work.
 *
 * A namespace lives as long as a process in it, an fd or a mount of it; none of these, and it is gone.
 */

import { closeSync, constants, existsSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { listNames, readLink, readText } from '../support/vanishing.ts'

const DEADLINE_MS = 5000
const POLL_MS = 2
const CGROUP_ROOT = '/sys/fs/cgroup'

/** Looks for leftovers. Every process of a plan has the write end of this mark's pipe open until it is the program. */
export class Mark implements Disposable {
  /** Names all files of the test; processes that were started by the container's hooks have it in their environment. */
  readonly base: string
  readonly stateRoot: string
  /** The write end, for the container's standard error. */
  readonly writeFd: number
  readonly #readFd: number
  readonly #fifo: string
  readonly #earlier: ReadonlySet<string>
  #ownFiles: readonly string[] = []

  constructor(base: string) {
    this.base = base
    this.stateRoot = join(base, 'state')
    this.#fifo = join(base, 'stderr')
    if (!existsSync(this.#fifo)) Bun.spawnSync(['mkfifo', this.#fifo])
    this.#readFd = openSync(this.#fifo, constants.O_RDONLY | constants.O_NONBLOCK)
    this.writeFd = openSync(this.#fifo, constants.O_WRONLY)
    this.#earlier = new Set(readdirSync('/proc'))
    this.resetOwnFiles()
  }

  /** Takes the files that are open at this moment as the ones that may be. */
  resetOwnFiles(): void {
    this.#ownFiles = ownFiles()
  }

  /** What there is now of a container; empty when nothing. */
  leftovers(id: string): string[] {
    return [
      ...this.processes().map(pid => `process ${pid} ${readText(`/proc/${pid}/comm`).trim()}`),
      ...readText('/proc/self/mountinfo')
        .split('\n')
        .filter(line => line.includes(this.base))
        .map(line => `mount ${line}`),
      ...cgroupsNamed(id).map(dir => `cgroup ${dir}`),
      ...filesNamed(this.stateRoot, id).map(file => `file ${file}`),
      ...ownFiles()
        .filter(file => !this.#ownFiles.includes(file))
        .map(file => `fd ${file}`),
    ]
  }

  /** Waits until nothing is left. @throws Error naming what is, after 5 s */
  async expectNothing(id: string, what: string): Promise<void> {
    const deadline = performance.now() + DEADLINE_MS
    for (;;) {
      const left = this.leftovers(id)
      if (left.length === 0) return
      if (performance.now() > deadline) throw new Error(`${what}: left behind:\n  ${left.join('\n  ')}`)
      await Bun.sleep(POLL_MS)
    }
  }

  /** Process ids that have the mark, without this one. */
  processes(): number[] {
    return readdirSync('/proc')
      .filter(name => /^\d+$/.test(name) && !this.#earlier.has(name) && name !== String(process.pid))
      .filter(pid => this.#isMarked(pid))
      .map(Number)
  }

  #isMarked(pid: string): boolean {
    const links = listNames(`/proc/${pid}/fd`).map(fd => readLink(`/proc/${pid}/fd/${fd}`))
    return links.includes(this.#fifo) || readText(`/proc/${pid}/environ`).includes(this.base)
  }

  /** The launcher that this process has started. */
  launcher(): number | undefined {
    return this.processes().find(pid => {
      const [, parent] = /^\d+ \(.*\) \S (\d+) /s.exec(readText(`/proc/${pid}/stat`)) ?? []
      return Number(parent) === process.pid
    })
  }

  /** Waits until a child has written to the pipe, or `isOver`: then false. @throws Error after 5 s */
  async blocked(isOver: () => boolean): Promise<boolean> {
    const deadline = performance.now() + DEADLINE_MS
    const byte = Buffer.alloc(1)
    while (readSome(this.#readFd, byte) === 0) {
      if (performance.now() > deadline) throw new Error('no child came to the place where it shall wait')
      if (isOver()) return false
      await Bun.sleep(1)
    }
    return true
  }

  /** Empties the pipe. */
  drain(): void {
    const buffer = Buffer.alloc(128 * 1024)
    while (readSome(this.#readFd, buffer) > 0);
  }

  [Symbol.dispose](): void {
    closeSync(this.#readFd)
    closeSync(this.writeFd)
  }
}

function readSome(fd: number, buffer: Buffer): number {
  try {
    return readSync(fd, buffer)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0
    throw error
  }
}

function cgroupsNamed(id: string): string[] {
  const hierarchies = [CGROUP_ROOT, ...listNames(CGROUP_ROOT).map(name => join(CGROUP_ROOT, name))]
  return hierarchies.flatMap(dir =>
    listNames(dir)
      .filter(name => name.includes(id))
      .map(name => join(dir, name)),
  )
}

function filesNamed(dir: string, id: string): string[] {
  const below = [dir, ...listNames(dir).map(name => join(dir, name))]
  return below.flatMap(parent =>
    listNames(parent)
      .map(name => join(parent, name))
      .filter(path => path.slice(dir.length).includes(id)),
  )
}

// Bun opens and closes its own (epoll, eventfd, pidfd, the memfd of a hook's stdin); files, sockets and pipes are what may be forgotten.
function ownFiles(): string[] {
  return listNames('/proc/self/fd')
    .map(fd => `${fd} ${readLink(`/proc/self/fd/${fd}`)}`)
    .filter(text => !/^\d+ ($|anon_inode:|\/proc\/|\/memfd:)/.test(text))
}

/**
 * What a test may leave behind on the machine: nothing. `snapshotHost()` before, `expectNoLeaks(before)` after.
 *
 * The kernel takes a mount, a namespace or a cgroup down after the process that used it is gone, so the comparison is
 * repeated until it is clean or the deadline has passed.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { listEntries, listNames, readLink, readText } from './vanishing.ts'

/** The things of one kind, each as a text that names it to a reader. */
type Kind = 'mount' | 'cgroup' | 'namespace' | 'link' | 'process' | 'file' | 'fd'

/** What there was at one moment. */
export interface HostSnapshot {
  readonly things: Readonly<Record<Kind, ReadonlySet<string>>>
  readonly dirs: readonly string[]
}

const DEADLINE_MS = 5000
const POLL_MS = 10
const CGROUP_ROOT = '/sys/fs/cgroup'

/**
 * Notes the mounts, cgroups, namespaces, network links, processes and open files that there are, and the files below
 * `dirs`. Of the machine's processes only the descendants of this one count, and every `berth-init`; other programs
 * come and go as they like. Mounts, cgroups and links count for the whole machine: don't run two such tests at once.
 */
export function snapshotHost(dirs: readonly string[] = []): HostSnapshot {
  const processes = ownProcesses()
  return {
    dirs,
    things: {
      mount: new Set(mounts()),
      cgroup: new Set(cgroups()),
      namespace: new Set(processes.flatMap(namespacesOf)),
      link: new Set(listNames('/sys/class/net')),
      process: new Set(processes.map(({ pid, name }) => `${name} (pid ${pid})`)),
      file: new Set(dirs.flatMap(filesBelow)),
      fd: new Set(openFiles()),
    },
  }
}

/**
 * Waits until nothing is there that was not there before.
 * @throws Error naming each thing that is still there after 5 s.
 */
export async function expectNoLeaks(before: HostSnapshot): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS
  for (;;) {
    const leaks = leaksSince(before)
    if (leaks.length === 0) return
    if (performance.now() > deadline) throw new Error(`left behind:\n${leaks.map(leak => `  ${leak}`).join('\n')}`)
    await Bun.sleep(POLL_MS)
  }
}

/** What is there and was not there before, each as `kind: name`. */
export function leaksSince(before: HostSnapshot): string[] {
  const now = snapshotHost(before.dirs)
  return Object.entries(now.things).flatMap(([kind, things]) => {
    const known = before.things[kind as Kind]
    return [...things].filter(thing => !known.has(thing)).map(thing => `${kind}: ${thing}`)
  })
}

// Without the mount ID, which changes when another program mounts the same thing anew.
function mounts(): string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').trimEnd().split('\n')
  return lines.map(line => {
    const [, , device = '', root = '', target = ''] = line.split(' ')
    return `${target} (${device} ${root})`
  })
}

// Of every hierarchy, whoever made them: a cgroup in the wrong place is a leak as well.
function cgroups(): string[] {
  return directoriesBelow(CGROUP_ROOT)
}

interface OwnProcess {
  readonly pid: number
  readonly name: string
}

/** The descendants of this process, and all processes of berth-init: those lose their parent when they become shims. */
function ownProcesses(): OwnProcess[] {
  const all = listNames('/proc')
    .filter(entry => /^\d+$/.test(entry))
    .flatMap(entry => processOf(Number(entry)))
  const parents = new Map(all.map(({ pid, parent }) => [pid, parent]))
  const descends = (pid: number): boolean => {
    const parent = parents.get(pid)
    return parent !== undefined && (parent === process.pid || descends(parent))
  }
  return all.filter(({ pid, name }) => name.startsWith('berth-init') || descends(pid))
}

function processOf(pid: number): (OwnProcess & { readonly parent: number })[] {
  // "pid (comm) state ppid …"; comm may contain anything, also parentheses.
  const stat = readText(`/proc/${pid}/stat`)
  const [, name, state, parent] = /^\d+ \((.*)\) (\S) (\d+) /s.exec(stat) ?? []
  // A zombie of process 1 is gone for all but the process table; when it is reaped is the machine's affair.
  const gone = name === undefined || state === 'X' || (state === 'Z' && parent === '1')
  return gone ? [] : [{ pid, name, parent: Number(parent) }]
}

function namespacesOf({ pid }: OwnProcess): string[] {
  return listNames(`/proc/${pid}/ns`).map(kind => readLink(`/proc/${pid}/ns/${kind}`))
}

// Bun opens and closes its own (epoll, eventfd, timerfd); files, sockets and pipes are what code under test may forget.
function openFiles(): string[] {
  return listNames('/proc/self/fd')
    .map(fd => ({ fd, target: readLink(`/proc/self/fd/${fd}`) }))
    .filter(({ target }) => target !== '' && !target.startsWith('anon_inode:') && target !== `/proc/${process.pid}/fd`)
    .map(({ fd, target }) => `${fd} ${target}`)
}

function filesBelow(dir: string): string[] {
  return listEntries(dir).flatMap(entry => {
    const path = join(dir, entry.name)
    return entry.isDirectory() ? [path, ...filesBelow(path)] : [path]
  })
}

function directoriesBelow(dir: string): string[] {
  return listEntries(dir)
    .filter(entry => entry.isDirectory())
    .flatMap(entry => [join(dir, entry.name), ...directoriesBelow(join(dir, entry.name))])
}

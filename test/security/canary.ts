/** What on the host a container must never change, noted before and compared after. */

import { expect } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { initPath } from '../../src/host/init-path.ts'
import { programs } from './programs.ts'

/** Settings of the whole machine that escapes are made of; each has been the target of a published one. */
const KERNEL_SETTINGS = ['core_pattern', 'sysrq', 'modprobe', 'hostname', 'shm_rmid_forced', 'domainname']

/** In no file of the machine but the canary's. */
export const SECRET = 'the canary sings on the host only'

/** A directory of the host with files in it, and those parts of the machine that must stay as they are. */
export class Canary {
  readonly dir: string
  /** Readable by all, and full of {@link SECRET}. */
  readonly file: string
  readonly #before: Readonly<Record<string, unknown>>
  readonly #mounts: ReadonlySet<string>
  readonly #base: string

  constructor(base: string) {
    this.#base = base
    this.dir = join(base, 'canary')
    this.file = join(this.dir, 'file')
    mkdirSync(join(this.dir, 'empty'), { recursive: true, mode: 0o755 })
    // The names that runtimes have made, replaced or removed on the host by mistake.
    for (const name of ['file', 'ptmx', 'null', 'hosts']) {
      writeFileSync(join(this.dir, name), `${SECRET}\n`, { mode: 0o604 })
      const set = spawnSync(programs().probe, ['setxattr', join(this.dir, name), `feathers of ${name}`])
      if (set.status !== 0) throw new Error(`Cannot set an attribute of "${join(this.dir, name)}"`)
    }
    writeFileSync(join(this.dir, 'passwd'), 'outsider:x:4321:4321::/:/bin/sh\n')
    this.#before = look(this.dir)
    this.#mounts = hostMounts()
  }

  /** What differs is reported, and the kernel's settings are put back: the machine is more than a test's. @throws when anything differs */
  expectUntouched(): void {
    const now = look(this.dir)
    for (const name of KERNEL_SETTINGS) {
      const before = this.#before[`kernel.${name}`]
      if (typeof before === 'string' && now[`kernel.${name}`] !== before)
        writeFileSync(`/proc/sys/kernel/${name}`, before)
    }
    expect(now).toEqual(this.#before)
    expect([...hostMounts()].filter(line => !this.#mounts.has(line) && line.includes(this.#base))).toEqual([])
  }
}

function look(dir: string): Record<string, unknown> {
  const settings = KERNEL_SETTINGS.map(name => [`kernel.${name}`, textOf(`/proc/sys/kernel/${name}`)])
  return {
    ...Object.fromEntries(settings),
    'berth-init': hash(initPath()),
    ...Object.fromEntries(treeOf(dir)),
  }
}

/** All that stat(2) tells of each file but the time of access, with what is in it. */
function treeOf(path: string): [string, unknown][] {
  const { mode, uid, gid, nlink, size, rdev, mtimeNs, ctimeNs } = lstatSync(path, { bigint: true })
  const stat = `${mode.toString(8)} ${uid}:${gid} ${nlink} ${size} ${rdev} ${mtimeNs} ${ctimeNs}`
  const type = Number(mode) & 0o170000
  if (type === 0o040000) return [[path, stat], ...readdirSync(path).flatMap(name => treeOf(join(path, name)))]
  if (type === 0o120000) return [[path, `${stat} ${readlinkSync(path)}`]]
  if (type !== 0o100000) return [[path, stat]]
  const attribute = spawnSync(programs().probe, ['getxattr', path]).stdout.toString()
  return [[path, `${stat} ${hash(path)} ${attribute}`]]
}

function hash(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}

/** Without the ids, which change when another program mounts the same anew. */
function hostMounts(): ReadonlySet<string> {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return new Set(lines.map(line => line.split(' ').slice(2).join(' ')))
}

/** What a file has; nothing when it is not there, or vanishes in the same moment. */
export function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

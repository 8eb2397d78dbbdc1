import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { CgroupLocation } from '../host/cgroup/location.ts'
import { type ProcessIdentity, processIdentity, sameProcess } from '../host/process-identity.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import type { RuntimeSpec } from '../oci/runtime-spec.ts'
import { parseRuntimeSpec } from '../oci/runtime-spec-parser.ts'
import type { PlanTail } from '../plan/step-error.ts'
import type { Bundle } from './bundle.ts'
import { START_SOCKET } from './compose-container.ts'
import type { NetDeviceMove } from './net-devices.ts'

/**
 * What the runtime remembers of a container between two commands: one directory per container below the runtime's root.
 *
 * | file | meaning |
 * | --- | --- |
 * | config.json | the config as it was at create |
 * | state.json | {@link ContainerRecord}, written when the process exists, before the container is complete |
 * | creator | {@link Creator}: who is creating it; gone once it is complete. With a dead creator the rest is a leftover |
 * | resources.json | the limits as `update` has changed them; absent until then |
 * | exec-*.start, exec-*.sock | where an exec with a terminal waits and is served, while it starts |
 * | start.sock | the process waits there for `start`; removed by it |
 * | netns | the pinned network namespace of a container that was given network devices |
 */
export interface ContainerRecord {
  readonly id: string
  readonly bundle: string
  readonly process: ProcessIdentity
  /** RFC 3339. */
  readonly created: string
  /** Absolute path of the root filesystem. */
  readonly root: string
  /** User id of the caller, and his name where /etc/passwd has one. */
  readonly owner: number
  readonly ownerName: string
  /** How to find its cgroup again. */
  readonly cgroup: CgroupLocation
  readonly netDevices: readonly NetDeviceMove[]
  /** What the process has still to do at `start`, to name it if it fails. */
  readonly afterStart: PlanTail
}

/** What the creation of a container may have made outside of its directory, noted before it is made. */
export interface Traces extends Pick<ContainerRecord, 'cgroup' | 'netDevices'> {
  /** It may still be undoing what it did when its creator is dead already. */
  readonly launcher: ProcessIdentity | null
}

/** Who is creating a container, and from when its plan runs on, what that may leave. */
type Creator = ProcessIdentity & Partial<Traces>

const RECORD = 'state.json'
const CONFIG = 'config.json'
const CREATOR = 'creator'
/** Where directories are before they are complete: no container's name, since no id has this character. */
const UNBORN = '~'

/** The directory of one container. Nothing here takes a lock: each step is atomic by itself. */
export class StateDirectory {
  readonly path: string
  readonly id: string
  #spec: RuntimeSpec | null = null

  constructor(root: string, id: string) {
    this.id = id
    this.path = join(root, id)
  }

  /**
   * Claims the id for a new container. Atomic: after a crash it is claimed or free.
   * @throws {BerthError} conflict: the id is taken
   */
  claim({ configText, spec }: Pick<Bundle, 'configText' | 'spec'>): void {
    const creator = processIdentity(process.pid)
    const unborn = join(this.path, '..', UNBORN, `${this.id}${UNBORN}${creator?.pid}${UNBORN}${creator?.startTicks}`)
    try {
      mkdirSync(join(unborn, '..', '..'), { recursive: true, mode: 0o711 })
      this.#removeUnborn()
      mkdirSync(unborn, { recursive: true, mode: 0o700 })
      writeFileSync(join(unborn, CREATOR), JSON.stringify(creator))
      writeFileSync(join(unborn, CONFIG), configText, { mode: 0o600 })
      // The one step that claims: it fails when something is there (rename(2): ENOTEMPTY), so a directory is never half made.
      renameSync(unborn, this.path)
    } catch (error) {
      // Below a root that is no directory rmSync would throw ENOTDIR for all its force, in place of the error to be told.
      if (existsSync(unborn)) rmSync(unborn, { recursive: true, force: true })
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOTEMPTY' || code === 'EEXIST')
        throw new BerthError('conflict', `Cannot create container "${this.id}": a container with this id exists`)
      throw new BerthError('unavailable', `Cannot create container "${this.id}": ${messageOf(error)}`, { cause: error })
    }
    this.#spec = spec
  }

  /** Removes what creators of this id have left that died before they had claimed it. */
  #removeUnborn(): void {
    const dir = join(this.path, '..', UNBORN)
    for (const name of existsSync(dir) ? readdirSync(dir) : []) {
      const [id, pid, startTicks] = name.split(UNBORN)
      const isDead = !sameProcess({ pid: Number(pid), startTicks: Number(startTicks) })
      if (id === this.id && isDead) rmSync(join(dir, name), { recursive: true, force: true })
    }
  }

  /** Notes what the creation may leave outside, before it starts. Atomic. */
  note(traces: Traces): void {
    const creator: Creator | null = readJson(join(this.path, CREATOR))
    if (creator !== null) this.#write(CREATOR, { ...creator, ...traces })
  }

  /** What a creation that is not complete may have left outside; null when it had not come so far. */
  traces(): Traces | null {
    const creator: Creator | null = readJson(join(this.path, CREATOR))
    const { cgroup, netDevices, launcher = null } = creator ?? {}
    return cgroup === undefined || netDevices === undefined ? null : { cgroup, netDevices, launcher }
  }

  #write(name: string, content: unknown): void {
    const temporary = join(this.path, `${name}.tmp`)
    try {
      writeFileSync(temporary, JSON.stringify(content), { mode: 0o600 })
      renameSync(temporary, join(this.path, name))
    } catch (error) {
      throw new BerthError('unavailable', `Cannot write state of container "${this.id}": ${messageOf(error)}`, {
        cause: error,
      })
    }
  }

  /** Writes the record atomically. */
  save(record: ContainerRecord): void {
    this.#write(RECORD, record)
  }

  /** Says that the container is complete. */
  complete(): void {
    unlinkSync(join(this.path, CREATOR))
  }

  /** Says that the process was started. */
  started(): void {
    rmSync(join(this.path, START_SOCKET), { force: true })
  }

  get startSocket(): string {
    return join(this.path, START_SOCKET)
  }

  /** Whether somebody alive is creating this container. */
  isBeingCreated(): boolean {
    const creator = readJson<ProcessIdentity>(join(this.path, CREATOR))
    return creator !== null && sameProcess(creator)
  }

  /** A creator that died half-way has left this; see `removeLeftover`. */
  isLeftover(): boolean {
    return existsSync(join(this.path, CREATOR)) && !this.isBeingCreated()
  }

  /** Whether the process still waits for `start`. */
  waitsForStart(): boolean {
    return existsSync(this.startSocket)
  }

  /** The record; null while the container's process does not exist yet. */
  record(): ContainerRecord | null {
    return readJson<ContainerRecord>(join(this.path, RECORD))
  }

  /** The config as it was at create; nothing changes it. */
  spec(): RuntimeSpec {
    this.#spec ??= parseRuntimeSpec(readFileSync(join(this.path, CONFIG), 'utf8')).value
    return this.#spec
  }

  /** Whether the config is there; it is kept in memory from then on. */
  hasSpec(): boolean {
    try {
      return this.spec() !== null
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
      throw error
    }
  }

  exists(): boolean {
    return existsSync(this.path)
  }

  /** Removes the directory and all in it. Idempotent. */
  remove(): void {
    try {
      for (const name of readdirSync(this.path)) unlinkSync(join(this.path, name))
      rmdirSync(this.path)
    } catch {
      // Gone already, or more than plain files is in it. Not rmSync at once: Bun takes 1 ms to load what that needs.
      rmSync(this.path, { recursive: true, force: true })
    }
  }
}

/** The ids of all containers below a runtime's root, sorted; those being created and leftovers of dead creators too. */
export function containerIds(root: string): string[] {
  let names: string[]
  try {
    names = readdirSync(root)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new BerthError('unavailable', `Cannot list containers in "${root}": ${messageOf(error)}`, { cause: error })
  }
  return names.filter(name => existsSync(join(root, name, CONFIG))).sort()
}

function readJson<T>(path: string): T | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new BerthError('internal', `Cannot read "${path}": ${messageOf(error)}`, { cause: error })
  }
}

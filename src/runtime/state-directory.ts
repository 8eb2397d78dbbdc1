import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CgroupLocation } from '../host/cgroup/location.ts'
import { type ProcessIdentity, processIdentity, sameProcess } from '../host/process-identity.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import type { RuntimeSpec } from '../oci/runtime-spec.ts'
import { parseRuntimeSpec } from '../oci/runtime-spec-parser.ts'
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
 * | creator | who is creating it; gone once it is complete. With a dead creator the rest is a leftover |
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
}

const RECORD = 'state.json'
const CONFIG = 'config.json'
const CREATOR = 'creator'

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
   * Claims the id for a new container.
   * @throws {BerthError} conflict: the id is taken
   */
  claim({ configText, spec }: Pick<Bundle, 'configText' | 'spec'>): void {
    mkdirSync(join(this.path, '..'), { recursive: true, mode: 0o711 })
    if (this.isLeftover()) this.remove()
    try {
      mkdirSync(this.path, { mode: 0o700 })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST')
        throw new BerthError('conflict', `Cannot create container "${this.id}": a container with this id exists`)
      throw error
    }
    writeFileSync(join(this.path, CREATOR), JSON.stringify(processIdentity(process.pid)))
    writeFileSync(join(this.path, CONFIG), configText, { mode: 0o600 })
    this.#spec = spec
  }

  /** Writes the record atomically. */
  save(record: ContainerRecord): void {
    const temporary = join(this.path, `${RECORD}.tmp`)
    writeFileSync(temporary, JSON.stringify(record), { mode: 0o600 })
    renameSync(temporary, join(this.path, RECORD))
  }

  /** Says that the container is complete. */
  complete(): void {
    rmSync(join(this.path, CREATOR))
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

  /** A creator that died half-way has left this; its launcher has undone what it did in the kernel. */
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

  exists(): boolean {
    return existsSync(this.path)
  }

  /** Removes the directory and all in it. Idempotent. */
  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
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

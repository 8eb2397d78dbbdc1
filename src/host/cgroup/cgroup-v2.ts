import { existsSync, watch } from 'node:fs'
import { BerthError } from '../../lib/error.ts'
import { deviceProgram } from '../../linux/cgroup/device-program.ts'
import { defaultDeviceRules } from '../../linux/cgroup/device-rules.ts'
import type { LinuxResources } from '../../linux/cgroup/resources.ts'
import { isSet } from '../../linux/cgroup/setting.ts'
import { v2Settings } from '../../linux/cgroup/settings.ts'
import { parseCount, parseFlatKeyed } from '../../linux/cgroup/stat-files.ts'
import type { CgroupStats } from '../../linux/cgroup/stats.ts'
import { statsV2 } from '../../linux/cgroup/stats-v2.ts'
import { isGone, readCgroupFile, writeCgroupFile } from './cgroup-file.ts'
import { hugePageSizes } from './huge-pages.ts'
import { type CgroupLocation, unifiedDirectory } from './location.ts'
import { type CgroupManager, type CgroupManagerOptions, FREEZE_TIMEOUT_MS, type FreezerState } from './manager.ts'
import { poll, processesBelow, removeCgroup, signalProcesses } from './processes.ts'
import { withLost, writeSettings } from './write-settings.ts'

const SIGKILL = 9

/** A container's cgroup on a host with cgroup v2 alone. */
export class CgroupV2 implements CgroupManager {
  readonly location: CgroupLocation
  readonly #dir: string
  readonly #options: CgroupManagerOptions

  constructor(location: CgroupLocation, options: CgroupManagerOptions = {}) {
    this.location = location
    this.#dir = unifiedDirectory(location)?.dir ?? ''
    this.#options = options
  }

  exists(): boolean {
    return existsSync(this.#dir)
  }

  pids(): readonly number[] {
    return processesBelow(this.#dir)
  }

  freezerState(): FreezerState {
    if (readCgroupFile(this.#dir, 'cgroup.freeze')?.trim() !== '1') return 'thawed'
    return this.#events()['frozen'] === 1 ? 'frozen' : 'freezing'
  }

  #events(): Readonly<Record<string, unknown>> {
    return parseFlatKeyed(readCgroupFile(this.#dir, 'cgroup.events') ?? '')
  }

  async freeze(): Promise<void> {
    this.#mustExist('freeze')
    writeCgroupFile(this.#dir, 'cgroup.freeze', '1')
    const late = () =>
      new BerthError('unavailable', `Cannot freeze cgroup "${this.#dir}": not frozen after ${FREEZE_TIMEOUT_MS} ms`)
    try {
      await poll(() => (this.#events()['frozen'] === 1 ? true : null), FREEZE_TIMEOUT_MS, late)
    } catch (error) {
      writeCgroupFile(this.#dir, 'cgroup.freeze', '0')
      throw error
    }
  }

  async thaw(): Promise<void> {
    this.#writeIfThere('cgroup.freeze', '0')
  }

  /** systemd removes the cgroup of a scope as soon as it is empty, at whatever moment that is for us. */
  #writeIfThere(file: string, value: string): void {
    try {
      writeCgroupFile(this.#dir, file, value)
    } catch (error) {
      if (this.exists() || !(error instanceof Error) || !isGone(error.cause)) throw error
    }
  }

  async kill(signal: number): Promise<void> {
    if (!this.exists()) return
    // cgroup.kill (Linux 5.14) catches forks in flight and frozen processes too.
    if (signal === SIGKILL && existsSync(`${this.#dir}/cgroup.kill`)) {
      this.#writeIfThere('cgroup.kill', '1')
      return
    }
    const wasThawed = this.freezerState() === 'thawed'
    if (wasThawed) await this.freeze()
    try {
      signalProcesses(this.pids(), signal)
    } finally {
      if (wasThawed) await this.thaw()
    }
  }

  stats(): CgroupStats {
    return statsV2((_, file) => readCgroupFile(this.#dir, file), hugePageSizes())
  }

  async update(resources: LinuxResources): Promise<void> {
    this.#mustExist('update')
    const settings = v2Settings(resources)
    const program =
      resources.devices === undefined ? null : deviceProgram([...resources.devices, ...defaultDeviceRules])
    const attach = this.#options.attachDeviceProgram
    if (program !== null && attach === undefined) throw noHelper(this.#dir)
    if (resources.memory?.checkBeforeUpdate) this.#checkMemory(resources)
    const undo = writeSettings(this.location, settings)
    if (program === null) return
    try {
      await attach?.(this.#dir, program)
    } catch (error) {
      throw withLost(error, undo())
    }
  }

  #checkMemory({ memory }: LinuxResources): void {
    const usage = parseCount(readCgroupFile(this.#dir, 'memory.current') ?? '')
    const limit = memory?.limit
    if (isSet(limit) && limit > 0 && limit <= usage) {
      throw new BerthError('conflict', `Cannot set memory.limit "${limit}": ${usage} bytes are in use, expected fewer`)
    }
  }

  onOom(listener: (kills: number) => void, signal: AbortSignal): void {
    if (!existsSync(`${this.#dir}/memory.events`)) return
    const read = () => Number(parseFlatKeyed(readCgroupFile(this.#dir, 'memory.events') ?? '')['oom_kill'] ?? 0)
    let seen = read()
    const look = () => {
      const kills = read()
      if (kills > seen) {
        seen = kills
        listener(kills)
      }
    }
    const watcher = watch(`${this.#dir}/memory.events`, { persistent: false }, look)
    // The cgroup's removal ends the watch with an error or a rename event; there is nothing more to hear then.
    watcher.on('error', () => watcher.close())
    signal.addEventListener('abort', () => watcher.close(), { once: true })
    look()
  }

  async remove(): Promise<void> {
    await removeCgroup(this.#dir)
  }

  #mustExist(verb: string): void {
    if (!this.exists()) throw new BerthError('notFound', `Cannot ${verb} cgroup "${this.#dir}": no such cgroup`)
  }
}

/** The error when a device filter is wanted and nobody can attach one. */
export function noHelper(dir: string): BerthError {
  return new BerthError(
    'notImplemented',
    `Cannot filter devices of cgroup "${dir}": no helper to attach the filter with`,
  )
}

import { existsSync } from 'node:fs'
import { BerthError } from '../../lib/error.ts'
import { defaultDeviceRules, devicePolicy, deviceTransition } from '../../linux/cgroup/device-rules.ts'
import type { LinuxResources } from '../../linux/cgroup/resources.ts'
import type { CgroupSetting } from '../../linux/cgroup/setting.ts'
import { hybridSettings } from '../../linux/cgroup/settings.ts'
import { parseCount, parseFlatKeyed } from '../../linux/cgroup/stat-files.ts'
import type { CgroupStats } from '../../linux/cgroup/stats.ts'
import { statsV1 } from '../../linux/cgroup/stats-v1.ts'
import { statsV2 } from '../../linux/cgroup/stats-v2.ts'
import { readCgroupFile, writeCgroupFile } from './cgroup-file.ts'
import { hugePageSizes } from './huge-pages.ts'
import { type CgroupLocation, directoryFor, unifiedDirectory } from './location.ts'
import { type CgroupManager, FREEZE_TIMEOUT_MS, type FreezerState, OOM_POLL_MS } from './manager.ts'
import { poll, processesBelow, removeCgroup, signalProcesses } from './processes.ts'
import { writeSettings } from './write-settings.ts'

/** A container's cgroups on a host with cgroup v1 controllers, with or without a v2 hierarchy beside them. */
export class CgroupV1 implements CgroupManager {
  readonly location: CgroupLocation

  constructor(location: CgroupLocation) {
    this.location = location
  }

  exists(): boolean {
    return this.location.directories.some(({ dir }) => existsSync(dir))
  }

  pids(): readonly number[] {
    // A process is in every hierarchy, but it can be moved in each alone; the one that must hold all is the devices one.
    return processesBelow((directoryFor(this.location, 'devices') ?? this.location.directories[0])?.dir ?? '')
  }

  #freezer(verb: string): string {
    const dir = directoryFor(this.location, 'freezer')?.dir
    if (dir === undefined) throw new BerthError('unavailable', `Cannot ${verb} cgroup: no freezer hierarchy is mounted`)
    if (!existsSync(dir)) throw new BerthError('notFound', `Cannot ${verb} cgroup "${dir}": no such cgroup`)
    return dir
  }

  freezerState(): FreezerState {
    const dir = directoryFor(this.location, 'freezer')?.dir ?? ''
    const state = readCgroupFile(dir, 'freezer.state')?.trim()
    return state === 'FROZEN' ? 'frozen' : state === 'FREEZING' ? 'freezing' : 'thawed'
  }

  async freeze(): Promise<void> {
    const dir = this.#freezer('freeze')
    const late = () =>
      new BerthError('unavailable', `Cannot freeze cgroup "${dir}": not frozen after ${FREEZE_TIMEOUT_MS} ms`)
    let tries = 0
    try {
      await poll(
        () => {
          // A task forked meanwhile stays unfrozen until FROZEN is written again; and one that waits for a frozen one
          // (ptrace, vfork) needs a short thaw to get out of that (kernel cgroup-v1/freezer-subsystem.rst).
          if (++tries % 50 === 0) writeCgroupFile(dir, 'freezer.state', 'THAWED')
          writeCgroupFile(dir, 'freezer.state', 'FROZEN')
          return this.freezerState() === 'frozen' ? true : null
        },
        FREEZE_TIMEOUT_MS,
        late,
      )
    } catch (error) {
      writeCgroupFile(dir, 'freezer.state', 'THAWED')
      throw error
    }
  }

  async thaw(): Promise<void> {
    if (this.exists()) writeCgroupFile(this.#freezer('thaw'), 'freezer.state', 'THAWED')
  }

  async kill(signal: number): Promise<void> {
    // Nobody is there who could fork, so there is nothing to freeze either.
    if (!this.exists() || this.pids().length === 0) return
    const freezer = directoryFor(this.location, 'freezer')?.dir
    try {
      await this.#killFrozen(freezer, signal)
    } catch (error) {
      // Removed meanwhile, by a launcher that undoes its work: then no process was in it.
      if (freezer === undefined || existsSync(freezer)) throw error
    }
  }

  async #killFrozen(freezer: string | undefined, signal: number): Promise<void> {
    const canFreeze = freezer !== undefined && existsSync(freezer) && this.freezerState() === 'thawed'
    // Frozen, none can fork or exit between the list and the signal. A frozen process dies when thawed.
    if (canFreeze) await this.freeze()
    try {
      signalProcesses(this.pids(), signal)
    } finally {
      if (freezer !== undefined && existsSync(freezer) && (canFreeze || signal === 9)) await this.thaw()
    }
  }

  stats(): CgroupStats {
    const read = (controller: string, file: string): string | null => {
      const found = directoryFor(this.location, controller)
      return found === undefined ? null : readCgroupFile(found.dir, file)
    }
    const v1 = statsV1(read, hugePageSizes())
    // On a hybrid host hugetlb may be a controller of v2.
    return directoryFor(this.location, 'hugetlb')?.hierarchy.version === 2
      ? { ...v1, hugetlb: statsV2((controller, file) => read(controller || 'cgroup', file), hugePageSizes()).hugetlb }
      : v1
  }

  async update(resources: LinuxResources): Promise<void> {
    if (!this.exists()) throw new BerthError('notFound', 'Cannot update cgroup: no such cgroup')
    const limit = readCgroupFile(directoryFor(this.location, 'memory')?.dir ?? '', 'memory.limit_in_bytes')
    const settings = hybridSettings(resources, unifiedControllers(this.location), {
      currentMemoryLimitBytes: limit === null ? undefined : parseCount(limit),
    })
    writeSettings(this.location, [...settings, ...this.#deviceSettings(resources)])
  }

  #deviceSettings(resources: LinuxResources): readonly CgroupSetting[] {
    if (resources.devices === undefined) return []
    const list = readCgroupFile(directoryFor(this.location, 'devices')?.dir ?? '', 'devices.list') ?? ''
    const policy = devicePolicy([...resources.devices, ...defaultDeviceRules])
    return deviceTransition(list, policy).map(({ file, line }) => ({
      controller: 'devices',
      file,
      value: line,
      note: 'device rule',
    }))
  }

  onOom(listener: (kills: number) => void, signal: AbortSignal): void {
    const dir = directoryFor(this.location, 'memory')?.dir ?? ''
    const read = () => Number(parseFlatKeyed(readCgroupFile(dir, 'memory.oom_control') ?? '')['oom_kill'] ?? 0)
    let seen = read()
    const timer = setInterval(() => {
      const kills = read()
      if (kills > seen) {
        seen = kills
        listener(kills)
      }
    }, OOM_POLL_MS)
    timer.unref()
    signal.addEventListener('abort', () => clearInterval(timer), { once: true })
  }

  async remove(): Promise<void> {
    for (const { dir } of this.location.directories) await removeCgroup(dir)
  }
}

/** The controllers that a hybrid host has on v2. */
export function unifiedControllers(location: CgroupLocation): ReadonlySet<string> {
  return new Set(unifiedDirectory(location)?.hierarchy.controllers ?? [])
}

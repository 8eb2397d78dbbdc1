import { mkdirSync } from 'node:fs'
import { compilePolicy } from '../../linux/cgroup/device-program.ts'
import { defaultDeviceRules, deviceLines, devicePolicy } from '../../linux/cgroup/device-rules.ts'
import type { LinuxResources } from '../../linux/cgroup/resources.ts'
import type { CgroupSetting } from '../../linux/cgroup/setting.ts'
import { hybridSettings, v2Settings } from '../../linux/cgroup/settings.ts'
import type { CgroupStats } from '../../linux/cgroup/stats.ts'
import {
  annotationProperties,
  deviceProperties,
  resourceProperties,
  type UnitProperty,
} from '../../linux/cgroup/systemd-properties.ts'
import { writeCgroupFile } from './cgroup-file.ts'
import { unifiedControllers } from './cgroup-v1.ts'
import { noHelper } from './cgroup-v2.ts'
import { type CgroupLocation, defaultSlice, isUnified, unifiedDirectory } from './location.ts'
import type { CgroupManager, CgroupManagerOptions, FreezerState } from './manager.ts'
import { probeCgroup } from './probe.ts'
import type { SystemdBus } from './systemd-bus.ts'
import { settingDirectory, writeSettings } from './write-settings.ts'

/** What a scope is told besides its limits. */
export interface AdoptOptions {
  readonly id: string
  readonly annotations: Readonly<Record<string, string>>
  /** v2: out of memory ends the whole container. Default true. */
  readonly oomGroup?: boolean
}

/**
 * A container's cgroup that systemd owns as a scope: systemd makes it, is told of the limits so that it keeps them, and
 * removes it. Everything else goes through the filesystem, as with cgroupfs.
 */
export class SystemdCgroup implements CgroupManager {
  readonly location: CgroupLocation
  readonly #files: CgroupManager
  readonly #options: CgroupManagerOptions

  /** `files` does what does not need systemd. */
  constructor(location: CgroupLocation, files: CgroupManager, options: CgroupManagerOptions = {}) {
    this.location = location
    this.#files = files
    this.#options = options
  }

  get #unit(): string {
    return this.location.systemd?.unit ?? ''
  }

  async #withBus<T>(use: (bus: SystemdBus) => Promise<T>): Promise<T> {
    // Loaded here, so that who does not use systemd does not pay for it.
    const { SystemdBus } = await import('./systemd-bus.ts')
    using bus = await SystemdBus.open(this.location.systemd?.bus ?? 'system')
    return await use(bus)
  }

  /**
   * Makes the scope with a process in it and writes what systemd has no word for. The process must wait meanwhile.
   * On throw the scope is stopped again.
   * @throws {BerthError} conflict: the unit is there already; see also `v1Settings`, `annotationProperties`
   */
  async adopt(pid: number, resources: LinuxResources, options: AdoptOptions): Promise<void> {
    const settings = this.#settings(resources, options.oomGroup ?? true)
    const properties = this.#unitProperties(pid, resources, options)
    await this.#withBus(bus => bus.startTransientUnit(this.#unit, properties))
    try {
      if (!isUnified(this.location)) this.#joinAll(pid)
      writeSettings(this.location, settings)
      await this.#filterDevices(resources)
    } catch (error) {
      // The process is the caller's to end; the scope goes when it has, and the first error is the one to tell.
      await this.remove().catch(() => undefined)
      throw error
    }
  }

  #unitProperties(pid: number, resources: LinuxResources, options: AdoptOptions): readonly UnitProperty[] {
    const place = this.location.systemd ?? { bus: 'system', slice: '' }
    const policy = devicePolicy([...(resources.devices ?? []), ...defaultDeviceRules])
    const flags = [
      'Delegate',
      'MemoryAccounting',
      'CPUAccounting',
      isUnified(this.location) ? 'IOAccounting' : 'BlockIOAccounting',
      'TasksAccounting',
    ]
    const text = (name: string, value: string): UnitProperty => [name, { signature: 's', value }]
    return [
      text('Description', `Berth container ${options.id}`),
      text('Slice', place.slice || defaultSlice(place)),
      ['PIDs', { signature: 'au', value: [pid] }],
      ...flags.map((name): UnitProperty => [name, { signature: 'b', value: true }]),
      // Without: the scope would wait for, and be stopped with, units that a container has nothing to do with.
      ['DefaultDependencies', { signature: 'b', value: false }],
      ...annotationProperties(options.annotations),
      // The user's instance has no right to filter devices.
      ...(place.bus === 'user' ? [] : deviceProperties(policy)),
      ...resourceProperties(resources, isUnified(this.location) ? 2 : 1),
    ]
  }

  /** systemd joins only the hierarchies of controllers it uses, and makes no directories in the others. */
  #joinAll(pid: number): void {
    for (const probe of probeCgroup(this.location, new Set([pid]))) {
      for (const dir of probe.missing) mkdirSync(dir, { mode: 0o755 })
      for (const { dir, file, value } of probe.cpuset) writeCgroupFile(dir, file, value)
      writeCgroupFile(probe.dir, 'cgroup.procs', String(pid))
    }
  }

  #settings(resources: LinuxResources, oomGroup: boolean): readonly CgroupSetting[] {
    const settings = isUnified(this.location)
      ? v2Settings(resources, { oomGroup })
      : hybridSettings(resources, unifiedControllers(this.location))
    for (const setting of settings) settingDirectory(this.location, setting)
    return settings
  }

  async #filterDevices(resources: LinuxResources): Promise<void> {
    const policy = devicePolicy([...(resources.devices ?? []), ...defaultDeviceRules])
    if (isUnified(this.location)) {
      // The user's instance may not filter devices, and its users can't open what their own rights do not open to them.
      const everything = policy.allowByDefault && policy.exceptions.length === 0
      if (this.location.systemd?.bus === 'user' || everything) return
      const dir = unifiedDirectory(this.location)?.dir ?? ''
      // systemd's own filter is no substitute: it can't say all rules.
      if (this.#options.attachDeviceProgram === undefined) throw noHelper(dir)
      await this.#options.attachDeviceProgram(dir, compilePolicy(policy))
      return
    }
    const lines = deviceLines(policy)
    const settings = lines.map(({ file, line }) => ({ controller: 'devices', file, value: line, note: 'device rule' }))
    writeSettings(this.location, settings)
  }

  async update(resources: LinuxResources): Promise<void> {
    // The files first: they have an undo. systemd then learns what stands already.
    await this.#files.update(resources)
    const properties = resourceProperties(resources, isUnified(this.location) ? 2 : 1)
    const devices =
      resources.devices === undefined || this.location.systemd?.bus === 'user'
        ? []
        : deviceProperties(devicePolicy([...resources.devices, ...defaultDeviceRules]))
    if (properties.length + devices.length === 0) return
    await this.#withBus(bus => bus.setUnitProperties(this.#unit, [...properties, ...devices]))
    // systemd rounds a CPU quota to whole percents when it writes it; the exact one goes back in.
    writeSettings(this.location, this.#settings(resources, false))
  }

  async remove(): Promise<void> {
    if (this.#files.exists()) {
      await this.#withBus(async bus => {
        await bus.stopUnit(this.#unit)
        await bus.resetFailedUnit(this.#unit)
      })
    }
    await this.#files.remove()
  }

  exists(): boolean {
    return this.#files.exists()
  }

  pids(): readonly number[] {
    return this.#files.pids()
  }

  freeze(): Promise<void> {
    return this.#files.freeze()
  }

  thaw(): Promise<void> {
    return this.#files.thaw()
  }

  freezerState(): FreezerState {
    return this.#files.freezerState()
  }

  kill(signal: number): Promise<void> {
    return this.#files.kill(signal)
  }

  stats(): CgroupStats {
    return this.#files.stats()
  }

  onOom(listener: (kills: number) => void, signal: AbortSignal): void {
    this.#files.onOom(listener, signal)
  }
}

import type { LinuxResources } from '../../linux/cgroup/resources.ts'
import type { CgroupStats } from '../../linux/cgroup/stats.ts'
import type { CgroupLocation } from './location.ts'

/**
 * The cgroup of a container after its creation. It is made by a plan (`runtime/compose-cgroup.ts`) or, with systemd, by
 * {@link SystemdCgroup.adopt}; this interface is all that happens to it until it is removed:
 *
 *     made → (freeze → thaw)* , update*, kill → remove
 *
 * Every method works on a cgroup that is already gone as on an empty one, except update and freeze, which throw notFound.
 */
export interface CgroupManager {
  readonly location: CgroupLocation

  /** Whether any of its directories is there. */
  exists(): boolean

  /** The processes in it and below it, ascending, as our PID namespace numbers them. */
  pids(): readonly number[]

  /** Stops every process in it and returns when the kernel says that all have stopped. On failure it is thawed again. */
  freeze(): Promise<void>

  /** Lets them go on. */
  thaw(): Promise<void>

  freezerState(): FreezerState

  /**
   * Sends a signal to every process in it and below it, so that none forked meanwhile escapes. Returns when the signals
   * are sent, not when the processes are gone.
   */
  kill(signal: number): Promise<void>

  /** What it has used and may use. */
  stats(): CgroupStats

  /**
   * Changes limits: those given, and no others. When one write fails, what was written before is set back, then it throws;
   * a value that can't be set back is named in the error.
   */
  update(resources: LinuxResources): Promise<void>

  /**
   * Calls the listener with the count of processes killed for lack of memory so far whenever it grows, until the signal.
   * v2: as it happens (inotify on memory.events). v1: within {@link OOM_POLL_MS}, since its notification needs an eventfd
   * that JavaScript can't have.
   */
  onOom(listener: (kills: number) => void, signal: AbortSignal): void

  /**
   * Removes it with all cgroups below; idempotent. Processes just killed are waited for.
   * @throws {BerthError} conflict, naming the processes that are still in it
   */
  remove(): Promise<void>
}

export type FreezerState = 'frozen' | 'freezing' | 'thawed'

/** How often v1 is asked for its count of kills. */
export const OOM_POLL_MS = 500

/** How long freezing may take: runc's bound as well. */
export const FREEZE_TIMEOUT_MS = 10_000

/** What a manager needs from outside. */
export interface CgroupManagerOptions {
  /** Replaces the device filter of a v2 cgroup: a step `bpf_device`, which only berth-init can run. */
  readonly attachDeviceProgram?: (dir: string, program: Uint8Array) => Promise<void>
}

import { DOCKER_DEFAULT_CAPABILITIES } from '../linux/capabilities.ts'

/**
 * What every container gets unless it is told otherwise: the isolation that is on by default. README.md has this table with the
 * option that turns each line off.
 */
export const CONTAINER_DEFAULTS = {
  capabilities: DOCKER_DEFAULT_CAPABILITIES,
  noNewPrivileges: true,
  /** Processes and threads. A fork bomb ends there. */
  pidsLimit: 4096,
  /** Open files; an unlimited hard limit makes old programs close two billion fds at start. */
  nofile: { soft: 1024n, hard: 524_288n },
  shmSizeBytes: 64 * 1024 * 1024,
  log: { maxBytes: 20 * 1024 * 1024, maxFiles: 5 },
} as const

/** Files of /proc and /sys that tell about, or act on, the whole machine. Source: moby's defaults, with its 2024–2026 additions. */
export const MASKED_PATHS: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
]

/** Beside each CPU's counters of thermal throttling, a side channel to the machine's load. */
export function thermalThrottlePath(cpu: number): string {
  return `/sys/devices/system/cpu/cpu${cpu}/thermal_throttle`
}

export const READONLY_PATHS: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
]

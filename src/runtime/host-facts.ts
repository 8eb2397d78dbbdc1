import { existsSync, readFileSync, statSync } from 'node:fs'
import { detectCgroups } from '../host/cgroup/layout.ts'
import { BerthError } from '../lib/error.ts'
import { capabilityMask } from '../linux/capabilities.ts'
import { parseMountOptions } from '../linux/mount-options.ts'
import { RLIM_INFINITY } from '../linux/rlimits.ts'
import type { RuntimeSpec } from '../oci/runtime-spec.ts'
import { isBind } from './compose-mounts.ts'
import type { HostFacts } from './container-input.ts'
import { absoluteSource } from './mount-source.ts'

/** Bind sources that will be there when the plan runs, and what they will be. */
export type PendingSources = ReadonlyMap<string, 'file' | 'directory'>

/** Reads what composing a plan for this config needs to know of the machine. */
export function readHostFacts(spec: RuntimeSpec, bundle: string, pending: PendingSources = new Map()): HostFacts {
  return {
    kernel: kernelVersion(readFileSync('/proc/sys/kernel/osrelease', 'utf8')),
    cgroups: detectCgroups(),
    directories: sourceDirectories(spec, bundle, pending),
    appArmor: readFlag('/sys/module/apparmor/parameters/enabled'),
    seLinux: existsSync('/sys/fs/selinux/enforce'),
    privileged: (heldCapabilities() & capabilityMask(['CAP_SYS_ADMIN'])) !== 0n,
    hardLimits: spec.process?.rlimits === undefined ? {} : readHardLimits(),
    environment: spec.hooks === undefined ? [] : ownEnvironment(),
    kcore: existsSync('/proc/kcore'),
  }
}

/** The environment of this process as execve(2) takes it. */
export function ownEnvironment(): readonly string[] {
  return Object.entries(process.env).map(([name, value]) => `${name}=${value ?? ''}`)
}

/** `6.18.44-fc` → [6, 18]. */
export function kernelVersion(text: string): readonly [number, number] {
  const [major = '0', minor = '0'] = text.split('.')
  return [Number.parseInt(major, 10), Number.parseInt(minor, 10)]
}

function sourceDirectories(spec: RuntimeSpec, bundle: string, pending: PendingSources): ReadonlySet<string> {
  const directories = new Set<string>()
  for (const mount of spec.mounts ?? []) {
    if (!isBind(mount, parseMountOptions(mount.options ?? []))) continue
    const source = absoluteSource(mount, bundle)
    const soon = pending.get(source)
    if (soon === 'directory') directories.add(source)
    if (soon !== undefined) continue
    const stat = statSync(source, { throwIfNoEntry: false })
    if (stat === undefined)
      throw new BerthError('notFound', `Cannot mount "${source}" at "${mount.destination}": the source does not exist`)
    if (stat.isDirectory()) directories.add(source)
  }
  return directories
}

function readFlag(path: string): boolean {
  return existsSync(path) && readFileSync(path, 'utf8').startsWith('Y')
}

/** What this process may do itself, as root of the initial user namespace or of one below it. */
export function heldCapabilities(): bigint {
  const [, mask = '0'] = /^CapPrm:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  return BigInt(`0x${mask}`)
}

/** Source: proc_pid_limits(5), and fs/proc/base.c, which writes "%-25s %-20s %-20s": name, soft, hard. */
const LIMIT_NAMES: Readonly<Record<string, string>> = {
  'Max cpu time': 'RLIMIT_CPU',
  'Max file size': 'RLIMIT_FSIZE',
  'Max data size': 'RLIMIT_DATA',
  'Max stack size': 'RLIMIT_STACK',
  'Max core file size': 'RLIMIT_CORE',
  'Max resident set': 'RLIMIT_RSS',
  'Max processes': 'RLIMIT_NPROC',
  'Max open files': 'RLIMIT_NOFILE',
  'Max locked memory': 'RLIMIT_MEMLOCK',
  'Max address space': 'RLIMIT_AS',
  'Max file locks': 'RLIMIT_LOCKS',
  'Max pending signals': 'RLIMIT_SIGPENDING',
  'Max msgqueue size': 'RLIMIT_MSGQUEUE',
  'Max nice priority': 'RLIMIT_NICE',
  'Max realtime priority': 'RLIMIT_RTPRIO',
  'Max realtime timeout': 'RLIMIT_RTTIME',
}
const LIMIT_NAME_COLUMNS = 26
const HARD_LIMIT_AT = 47
const HARD_LIMIT_COLUMNS = 20

function readHardLimits(): Readonly<Record<string, bigint>> {
  const limits: Record<string, bigint> = {}
  for (const line of readFileSync('/proc/self/limits', 'utf8').split('\n')) {
    const name = LIMIT_NAMES[line.slice(0, LIMIT_NAME_COLUMNS).trim()]
    if (name === undefined) continue
    const hard = line.slice(HARD_LIMIT_AT, HARD_LIMIT_AT + HARD_LIMIT_COLUMNS).trim()
    limits[name] = hard === 'unlimited' ? RLIM_INFINITY : BigInt(hard)
  }
  return limits
}

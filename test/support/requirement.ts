/** What a test needs of the machine, found out once; a test whose machine lacks it is skipped with the reason. */

import { test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { skippedName } from './junit.ts'

/** A capability that `requirement()` can look for. */
export type RequirementName = Feature | `command ${string}` | `kernel ${number}.${number}`

type Feature =
  | 'root'
  | 'cgroup v1'
  | 'cgroup v2'
  | 'runc'
  | 'crun'
  | 'podman'
  | 'apparmor'
  | 'CAP_SYS_RESOURCE'
  | 'systemd'
  | 'userns'
  | 'overlay'
  | 'idmapped mounts'
  | 'int 0x80'
  | 'vm'

/** What was found; `reason` says what is missing, and is empty when nothing is. */
export interface Requirement {
  readonly ok: boolean
  readonly reason: string
}

const MET: Requirement = Object.freeze({ ok: true, reason: '' })
const CAP_SYS_RESOURCE = 24

const PROBES: Readonly<Record<Feature, () => Requirement>> = {
  root: () => unless(process.getuid?.() === 0, 'needs root'),
  'cgroup v2': () => unless(isCgroup2('/sys/fs/cgroup'), 'needs cgroup v2 alone at /sys/fs/cgroup'),
  'cgroup v1': () => unless(mountinfo().includes(' - cgroup '), 'needs cgroup v1 controllers'),
  runc: () => requirement('command runc'),
  crun: () => requirement('command crun'),
  podman: () => requirement('command podman'),
  apparmor: () =>
    unless(read('/sys/module/apparmor/parameters/enabled').startsWith('Y'), 'needs AppArmor in the kernel'),
  CAP_SYS_RESOURCE: () => unless(hasCapability(CAP_SYS_RESOURCE), 'needs CAP_SYS_RESOURCE'),
  systemd: () => unless(read('/proc/1/comm').trim() === 'systemd', 'needs systemd as PID 1'),
  userns: () => succeeds(['unshare', '--user', '--map-root-user', 'true'], 'needs user namespaces'),
  overlay: () => unless(/\toverlay$/m.test(read('/proc/filesystems')), 'needs overlayfs in the kernel'),
  'idmapped mounts': () => unless(canIdmap(), `needs a file system with idmapped mounts under ${tmpdir()}`),
  'int 0x80': () =>
    unless(canCallAs32Bit(), 'needs a C compiler, and a machine that takes the system calls of 32-bit programs'),
  vm: () => unless(process.env['BERTH_TEST_VM'] === '1', 'needs the VM of npm run test:vm'),
}

const found = new Map<RequirementName, Requirement>()

/** Whether the machine has it. Each is probed once. */
export function requirement(name: RequirementName): Requirement {
  const known = found.get(name)
  if (known) return known
  const result = probe(name)
  found.set(name, result)
  return result
}

type TestFunction = (() => void) | (() => Promise<unknown>)

/**
 * `test()` for a machine that meets the requirements; on others the test is skipped, and its name ends with
 * the first reason, which the gate prints and counts.
 */
export function testIf(...names: readonly RequirementName[]) {
  const missing = names.map(requirement).find(({ ok }) => !ok)
  return (name: string, run: TestFunction, timeoutMs?: number): void => {
    if (missing) test.skip(skippedName(name, missing.reason), run)
    else test(name, run, timeoutMs)
  }
}

function probe(name: RequirementName): Requirement {
  if (isFeature(name)) return PROBES[name]()
  const [kind, value = ''] = name.split(' ')
  if (kind === 'kernel') return unless(kernelIsAtLeast(value), `needs kernel ${value}, this is ${release()}`)
  return unless(Bun.which(value, { PATH: `${process.env['PATH']}:/usr/sbin:/sbin` }) !== null, `needs ${value}`)
}

function isFeature(name: RequirementName): name is Feature {
  return name in PROBES
}

function unless(ok: boolean, reason: string): Requirement {
  return ok ? MET : { ok, reason }
}

function succeeds([command = '', ...args]: readonly string[], reason: string): Requirement {
  return unless(spawnSync(command, args, { stdio: 'ignore' }).status === 0, reason)
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // Absent is the answer: the probes ask for content that an absent file does not have.
    return ''
  }
}

function mountinfo(): string {
  return read('/proc/self/mountinfo')
}

function isCgroup2(path: string): boolean {
  return mountinfo()
    .split('\n')
    .some(line => line.split(' ')[4] === path && line.includes(' - cgroup2 '))
}

function hasCapability(bit: number): boolean {
  const [, mask = '0'] = /^CapEff:\t([0-9a-f]+)$/m.exec(read('/proc/self/status')) ?? []
  return ((BigInt(`0x${mask}`) >> BigInt(bit)) & 1n) === 1n
}

function kernelIsAtLeast(version: string): boolean {
  const [wantedMajor = 0, wantedMinor = 0] = version.split('.').map(Number)
  const [major = 0, minor = 0] = release().split(/[.-]/).map(Number)
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
}

// f_type → the first kernel whose version of the file system has FS_ALLOW_IDMAP (mount_setattr(2), and Linux 6.3 for tmpfs).
const IDMAP_SINCE: Readonly<Record<number, string>> = {
  61267: '5.12', // ext4
  1481003842: '5.12', // xfs
  2435016766: '5.15', // btrfs
  16914836: '6.3', // tmpfs
}

function canIdmap(): boolean {
  const since = IDMAP_SINCE[statfsSync(tmpdir()).type]
  return since !== undefined && kernelIsAtLeast(since)
}

/** getpid(2) by its 32-bit number: a kernel may be built without such calls, and some hypervisors end the program. */
const GETPID_32_BIT =
  'int main(void) { int pid; __asm__ volatile("int $0x80" : "=a"(pid) : "a"(20)); return pid <= 0; }'

function canCallAs32Bit(): boolean {
  if (process.arch !== 'x64') return false
  const directory = mkdtempSync(join(tmpdir(), 'berth-int80-'))
  const program = join(directory, 'getpid')
  try {
    const { status } = spawnSync('cc', ['-x', 'c', '-o', program, '-'], { input: GETPID_32_BIT })
    return status === 0 && spawnSync(program).status === 0
  } finally {
    rmSync(directory, { recursive: true })
  }
}

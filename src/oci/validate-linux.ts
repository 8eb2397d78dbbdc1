/** Whether the parts of `linux` fit together. Source: runtime-spec › Linux Container Configuration. */

import { messageOf } from '../lib/error.ts'
import type { DeviceCgroupRule } from '../linux/cgroup/resources.ts'
import { parseCpuList } from '../linux/cpu-set.ts'
import { idIsMapped, idMapProblem } from '../linux/id-map.ts'
import { MODES_WITH_NODES, MODES_WITHOUT_NODES } from '../linux/memory-policy.ts'
import type { NamespaceType } from '../linux/namespaces.ts'
import { sysctlNamespace, sysctlPath } from '../linux/sysctl.ts'
import type { Findings } from './findings.ts'
import type { Linux, MemoryPolicy } from './runtime-spec-linux.ts'
import type { IdMaps } from './validate-process.ts'

/** Checks the `linux` section, except seccomp. `maps` are the ids of a new user namespace, else null. */
export function validateLinux(linux: Linux, maps: IdMaps | null, findings: Findings): void {
  validateNamespaces(linux, findings)
  validateUserNamespace(linux, findings)
  validateTimeOffsets(linux, findings)
  validateSysctl(linux, findings)
  validateDevices(linux, maps, findings)
  validateDeviceRules(linux.resources?.devices ?? [], 'linux.resources.devices', findings)
  validateNetDevices(linux, findings)
  validateIntelRdt(linux, findings)
  if (linux.memoryPolicy !== undefined) validateMemoryPolicy(linux.memoryPolicy, findings)
  if ((linux.personality?.flags ?? []).length > 0) {
    findings.problem('linux.personality.flags', 'is not empty, expected none: the spec defines no flags')
  }
  for (const name of ['maskedPaths', 'readonlyPaths'] as const) {
    for (const [index, path] of (linux[name] ?? []).entries()) {
      if (path.startsWith('/')) continue
      findings.problem(`linux.${name}[${index}]`, `is ${JSON.stringify(path)}, expected an absolute path`)
    }
  }
}

/** Whether the container has a namespace of this kind of its own, new or joined. */
export function hasNamespace(linux: Linux | undefined, type: NamespaceType): boolean {
  return linux?.namespaces?.some(namespace => namespace.type === type) ?? false
}

/** The path of the namespace to join; undefined when it is new or the runtime's. */
export function namespacePath(linux: Linux | undefined, type: NamespaceType): string | undefined {
  const path = linux?.namespaces?.find(namespace => namespace.type === type)?.path
  return path === '' ? undefined : path
}

function validateNamespaces(linux: Linux, findings: Findings): void {
  const seen = new Set<string>()
  for (const [index, { type, path }] of (linux.namespaces ?? []).entries()) {
    const at = `linux.namespaces[${index}]`
    if (seen.has(type)) findings.problem(at, `is a second ${JSON.stringify(type)}, expected each type once`)
    seen.add(type)
    if (path !== undefined && path !== '' && !path.startsWith('/')) {
      findings.problem(`${at}.path`, `is ${JSON.stringify(path)}, expected an absolute path`)
    }
  }
}

function validateUserNamespace(linux: Linux, findings: Findings): void {
  const joined = namespacePath(linux, 'user') !== undefined
  const isNew = hasNamespace(linux, 'user') && !joined
  for (const name of ['uidMappings', 'gidMappings'] as const) {
    const mappings = linux[name] ?? []
    if (mappings.length === 0) {
      if (isNew) findings.problem(`linux.${name}`, 'is absent, expected it with a new user namespace')
      continue
    }
    if (joined) {
      // containerd and CRI-O send the mappings of the namespace they made; whoever opens it compares them.
      findings.warning(`linux.${name}`, 'is given with a user namespace to join, whose own mappings count')
    } else if (!isNew) {
      findings.problem(`linux.${name}`, 'is given, expected it with a user namespace only')
    }
    const problem = idMapProblem(mappings)
    if (problem !== undefined) findings.problem(`linux.${name}`, `has a mistake: ${problem}`)
  }
}

function validateTimeOffsets(linux: Linux, findings: Findings): void {
  if (linux.timeOffsets === undefined || Object.keys(linux.timeOffsets).length === 0) return
  if (!hasNamespace(linux, 'time')) {
    findings.problem('linux.timeOffsets', 'is given, expected it with a time namespace only')
  } else if (namespacePath(linux, 'time') !== undefined) {
    findings.problem('linux.timeOffsets', 'is given with a time namespace to join, whose offsets are fixed')
  }
  for (const clock of ['boottime', 'monotonic'] as const) {
    const nanosecs = linux.timeOffsets[clock]?.nanosecs ?? 0
    if (nanosecs > 999_999_999) {
      findings.problem(`linux.timeOffsets.${clock}.nanosecs`, `is ${nanosecs}, expected at most 999999999`)
    }
  }
}

function validateSysctl(linux: Linux, findings: Findings): void {
  for (const [name, value] of Object.entries(linux.sysctl ?? {})) {
    const at = `linux.sysctl[${JSON.stringify(name)}]`
    const path = sysctlPath(name)
    if (path === undefined) {
      findings.problem(at, 'is no name of a kernel parameter')
      continue
    }
    if (/[\n\0]/.test(value)) findings.problem(at, 'has more than one line, expected one value')
    const type = sysctlNamespace(path)
    if (path === 'kernel/hostname') findings.problem(at, 'is refused, expected the property hostname instead')
    else if (type === undefined) findings.problem(at, 'would change the host: it belongs to no namespace')
    else if (!hasNamespace(linux, type)) {
      findings.problem(at, `would change the host, expected a ${type} namespace with it`)
    }
  }
}

function validateDevices(linux: Linux, maps: IdMaps | null, findings: Findings): void {
  const seen = new Set<string>()
  for (const [index, device] of (linux.devices ?? []).entries()) {
    const at = `linux.devices[${index}]`
    const { type, path, major, minor } = device
    if (!path.startsWith('/') || path.split('/').includes('..')) {
      findings.problem(`${at}.path`, `is ${JSON.stringify(path)}, expected an absolute path without ".."`)
    }
    if (seen.has(path)) findings.problem(at, `is a second ${JSON.stringify(path)}`)
    seen.add(path)
    // The kernel keeps 12 bits of major and 20 bits of minor and drops the rest.
    const fits = (number: number | undefined, limit: number) => number !== undefined && number >= 0 && number < limit
    if (type !== 'p' && !(fits(major, 1 << 12) && fits(minor, 1 << 20))) {
      findings.problem(at, `is ${major}:${minor}, expected a major below 4096 and a minor below 1048576`)
    }
    if (maps === null) continue
    const { uid = 0, gid = 0 } = device
    if (!idIsMapped(maps.uidMappings, uid)) findings.problem(`${at}.uid`, `is ${uid}, which linux.uidMappings lacks`)
    if (!idIsMapped(maps.gidMappings, gid)) findings.problem(`${at}.gid`, `is ${gid}, which linux.gidMappings lacks`)
  }
}

/** Checks device rules, of a config or of `update`. */
function validateDeviceRules(rules: readonly DeviceCgroupRule[], path: string, findings: Findings): void {
  for (const [index, { type, access }] of rules.entries()) {
    if (type !== undefined && !['', 'a', 'b', 'c'].includes(type)) {
      findings.problem(`${path}[${index}].type`, `is ${JSON.stringify(type)}, expected a, b or c`)
    }
    if (access !== undefined && !/^[rwm]*$/.test(access)) {
      findings.problem(`${path}[${index}].access`, `is ${JSON.stringify(access)}, expected letters of rwm`)
    }
  }
}

/** As the kernel judges names of interfaces: dev_valid_name() in net/core/dev.c. */
function isInterfaceName(name: string): boolean {
  return (
    name !== '' && new TextEncoder().encode(name).length < 16 && name !== '.' && name !== '..' && !/[/:\s\0]/.test(name)
  )
}

function validateNetDevices(linux: Linux, findings: Findings): void {
  const entries = Object.entries(linux.netDevices ?? {})
  if (entries.length > 0 && !hasNamespace(linux, 'network')) {
    findings.problem('linux.netDevices', 'is given, expected it with a network namespace only')
  }
  const seen = new Set<string>()
  for (const [hostName, { name }] of entries) {
    const at = `linux.netDevices[${JSON.stringify(hostName)}]`
    const target = name === undefined || name === '' ? hostName : name
    if (!isInterfaceName(hostName)) findings.problem(at, 'is no name of an interface')
    if (!isInterfaceName(target))
      findings.problem(`${at}.name`, `is ${JSON.stringify(target)}, which is no name of an interface`)
    // `eth%d` asks the kernel for the next free number, so it may come twice.
    if (seen.has(target) && !target.includes('%d')) {
      findings.problem(`${at}.name`, `is a second ${JSON.stringify(target)}`)
    }
    seen.add(target)
  }
}

function validateIntelRdt({ intelRdt }: Linux, findings: Findings): void {
  const closID = intelRdt?.closID ?? ''
  if (closID === '.' || closID === '..' || (closID.length > 1 && closID.includes('/'))) {
    findings.problem('linux.intelRdt.closID', `is ${JSON.stringify(closID)}, expected the name of one directory`)
  }
  for (const [index, line] of (intelRdt?.schemata ?? []).entries()) {
    if (line.includes('\n')) findings.problem(`linux.intelRdt.schemata[${index}]`, 'has more than one line')
  }
}

function validateMemoryPolicy({ mode, nodes = '', flags = [] }: MemoryPolicy, findings: Findings): void {
  const path = 'linux.memoryPolicy'
  if (mode === undefined) {
    findings.problem(`${path}.mode`, 'is absent, expected it to be there')
    return
  }
  let count = 0
  try {
    count = parseCpuList(nodes, 'memory node').length
  } catch (error) {
    findings.problem(`${path}.nodes`, `is no list: ${messageOf(error)}`)
    return
  }
  if (MODES_WITHOUT_NODES.includes(mode) && count > 0) {
    findings.problem(`${path}.nodes`, `is ${JSON.stringify(nodes)}, expected none with ${mode}`)
  }
  if (MODES_WITH_NODES.includes(mode) && count === 0) {
    findings.problem(`${path}.nodes`, `is empty, expected at least one node with ${mode}`)
  }
  if (flags.includes('MPOL_F_STATIC_NODES') && flags.includes('MPOL_F_RELATIVE_NODES')) {
    findings.problem(`${path}.flags`, 'has both MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES, expected one of them')
  }
}

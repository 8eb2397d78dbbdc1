/**
 * Whether a config that has the right form can be run: the rules that need no look at the system. What only the system
 * can tell (does the root exist, is a joined network namespace the host's, is there a resctrl) is checked when the
 * plan is composed.
 */

import { Findings } from './findings.ts'
import { checkOciVersion } from './oci-version.ts'
import { HOOK_KINDS, type Process, type RuntimeSpec } from './runtime-spec.ts'
import { hasNamespace, namespacePath, validateLinux } from './validate-linux.ts'
import { validateMounts } from './validate-mounts.ts'
import { type IdMaps, validateProcess } from './validate-process.ts'
import { validateSeccomp } from './validate-seccomp.ts'

/** __NEW_UTS_LEN of the kernel, bytes. */
const UTS_NAME_MAX = 64

/**
 * Checks a config and returns warnings: what the container will not have though the config asks for it.
 * @throws {BerthError} invalidArgument, naming the first problem and how many more there are.
 */
export function validateRuntimeSpec(spec: RuntimeSpec, name = 'config.json'): readonly string[] {
  const versionWarnings = checkOciVersion(spec.ociVersion)
  const findings = findProblems(spec)
  findings.throwFirst(name)
  return [...versionWarnings, ...findings.warnings]
}

/** All that `validateRuntimeSpec` finds, the version apart, as a list instead of an error. */
export function findProblems(spec: RuntimeSpec): Findings {
  const findings = new Findings()
  validatePlatform(spec, findings)
  if (hasNul(spec)) validateNul(spec, '', findings)
  const maps = newUserNamespaceMaps(spec)
  if (spec.process !== undefined) validateProcess(spec.process, 'process', maps, findings)
  validateRoot(spec, findings)
  validateUts(spec, findings)
  validateMounts(spec, findings)
  validateHooks(spec, findings)
  if (spec.linux !== undefined) validateLinux(spec.linux, maps, findings)
  if (spec.linux?.seccomp !== undefined) validateSeccomp(spec.linux.seccomp, 'linux.seccomp', findings)
  if (Object.hasOwn(spec.annotations ?? {}, '')) findings.problem('annotations', 'has an empty key')
  return findings
}

/**
 * Checks the process of an `exec` and returns warnings; `maps` are those of the container's user namespace, null
 * without one.
 * @throws {BerthError} invalidArgument, naming the first problem and how many more there are.
 */
export function validateExecProcess(process: Process, maps: IdMaps | null, name = 'process.json'): readonly string[] {
  const findings = new Findings()
  if (hasNul(process)) validateNul(process, '', findings)
  validateProcess(process, '', maps, findings)
  findings.throwFirst(name)
  return findings.warnings
}

/** The ids of a user namespace that is made from this config; null when it has none or joins one. */
function newUserNamespaceMaps({ linux }: RuntimeSpec): IdMaps | null {
  if (!hasNamespace(linux, 'user') || namespacePath(linux, 'user') !== undefined) return null
  return { uidMappings: linux?.uidMappings ?? [], gidMappings: linux?.gidMappings ?? [] }
}

function validatePlatform(spec: RuntimeSpec, findings: Findings): void {
  for (const platform of ['solaris', 'windows', 'vm', 'zos', 'freebsd'] as const) {
    if (spec[platform] !== undefined) findings.problem(platform, 'is for another platform than Linux')
  }
}

/** Whether any text has a NUL: almost never, so where it is is found out in a second pass. */
function hasNul(value: unknown): boolean {
  if (typeof value === 'string') return value.includes('\0')
  if (typeof value !== 'object' || value === null) return false
  if (Array.isArray(value)) return value.some(hasNul)
  const source = value as Readonly<Record<string, unknown>>
  return Object.keys(source).some(key => key.includes('\0') || hasNul(source[key]))
}

/** No text of a config may hold a NUL, at which the kernel would end it. */
function validateNul(value: unknown, path: string, findings: Findings): void {
  if (typeof value === 'string') {
    if (value.includes('\0')) findings.problem(path, 'has a NUL character')
  } else if (Array.isArray(value)) {
    for (const [index, each] of value.entries()) validateNul(each, `${path}[${index}]`, findings)
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, each] of Object.entries(value)) {
      if (key.includes('\0')) findings.problem(path, 'has a key with a NUL character')
      validateNul(each, path === '' ? key : `${path}.${key}`, findings)
    }
  }
}

function validateRoot(spec: RuntimeSpec, findings: Findings): void {
  if (spec.root === undefined) findings.problem('root', 'is absent, expected it to be there')
  else if (spec.root.path === '') findings.problem('root.path', 'is empty, expected a directory')
  if (!hasNamespace(spec.linux, 'mount')) {
    findings.problem('linux.namespaces', 'has no "mount", expected one: the mounts would be made on the host')
  }
}

function validateUts(spec: RuntimeSpec, findings: Findings): void {
  for (const name of ['hostname', 'domainname'] as const) {
    const value = spec[name] ?? ''
    if (value === '') continue
    if (!hasNamespace(spec.linux, 'uts')) findings.problem(name, 'is given, expected it with a uts namespace only')
    if (new TextEncoder().encode(value).length > UTS_NAME_MAX) {
      findings.problem(name, `is longer than ${UTS_NAME_MAX} bytes`)
    }
  }
}

function validateHooks(spec: RuntimeSpec, findings: Findings): void {
  for (const kind of HOOK_KINDS) {
    for (const [index, hook] of (spec.hooks?.[kind] ?? []).entries()) {
      if (hook.path.startsWith('/')) continue
      findings.problem(`hooks.${kind}[${index}].path`, `is ${JSON.stringify(hook.path)}, expected an absolute path`)
    }
  }
}

/**
 * Docker's seccomp profiles: OCI's section with conditions on capabilities, architecture and kernel, which are settled
 * here before a container starts.
 * Source: moby/profiles seccomp (default.json, setupSeccomp); Docker docs › Seccomp security profiles for Docker.
 */
import { BerthError } from '../lib/error.ts'
import type { NativeArch } from '../linux/seccomp/architectures.ts'
import type { SeccompConfig } from '../linux/seccomp/config.ts'
import defaultProfileJson from './data/docker-default.json'
import type { DockerProfile, KernelVersion, ProfileFilter, ProfileSyscall } from './docker-profile.ts'
import { toBuiltinProfile } from './seccomp-profile-parser.ts'

/** What a profile's conditions are about. */
export interface ProfileTarget {
  /** The bounding set of the container's process, as `CAP_*`. */
  readonly capabilities: readonly string[]
  readonly arch: NativeArch
  /** As uname(2) has it: "6.1.0-37-amd64". */
  readonly kernelVersion: string
}

/** What `--security-opt seccomp=VALUE` asks for. */
export type SeccompChoice =
  | { readonly kind: 'unconfined' }
  | { readonly kind: 'builtin' }
  | { readonly kind: 'file'; readonly path: string }

const MACHINE = Object.freeze({
  x86_64: { word: 'amd64', scmp: 'SCMP_ARCH_X86_64' },
  aarch64: { word: 'arm64', scmp: 'SCMP_ARCH_AARCH64' },
}) satisfies Readonly<Record<NativeArch, { word: string; scmp: string }>>

let parsedDefault: DockerProfile | undefined

/** Docker's default profile for one container: what dockerd would hand to its runtime, name for name. */
export function dockerProfile(target: ProfileTarget): SeccompConfig {
  parsedDefault ??= toBuiltinProfile(defaultProfileJson)
  return resolveProfile(parsedDefault, target)
}

/**
 * Settles a profile's conditions: the rules that apply, and the architectures that go with the machine's own.
 * @throws {BerthError} invalidArgument when `kernelVersion` can't be read.
 */
export function resolveProfile(profile: DockerProfile, target: ProfileTarget): SeccompConfig {
  const { archMap, syscalls, ...rest } = profile
  const kernel = parseKernelVersion(target.kernelVersion)
  const machine = MACHINE[target.arch]
  const family = archMap?.find(({ architecture }) => architecture === machine.scmp)
  const applies = ({ includes = {}, excludes = {} }: ProfileSyscall): boolean =>
    !isExcluded(excludes, target.capabilities, machine.word, kernel) &&
    isIncluded(includes, target.capabilities, machine.word, kernel)
  return {
    ...rest,
    ...(family !== undefined && { architectures: [family.architecture, ...family.subArchitectures] }),
    syscalls: (syscalls ?? []).filter(applies).map(({ includes: _, excludes: __, ...rule }) => rule),
  }
}

/** Reads the value of `--security-opt seccomp=…`; anything but Docker's two words is the path of a profile. */
export function parseSeccompChoice(value: string): SeccompChoice {
  if (value === '') {
    throw new BerthError('invalidArgument', 'Cannot read security option "seccomp": empty, expected a profile')
  }
  if (value === 'unconfined' || value === 'builtin') return { kind: value }
  return { kind: 'file', path: value }
}

/** Any one match excludes the rule. */
function isExcluded(filter: ProfileFilter, capabilities: readonly string[], arch: string, kernel: KernelVersion) {
  return (
    filter.arches?.includes(arch) === true ||
    filter.caps?.some(cap => capabilities.includes(cap)) === true ||
    (filter.minKernel !== undefined && isAtLeast(kernel, filter.minKernel))
  )
}

/** An empty list is no condition, as in Docker. */
function isIncluded(filter: ProfileFilter, capabilities: readonly string[], arch: string, kernel: KernelVersion) {
  return (
    (!filter.arches?.length || filter.arches.includes(arch)) &&
    (filter.caps ?? []).every(cap => capabilities.includes(cap)) &&
    (filter.minKernel === undefined || isAtLeast(kernel, filter.minKernel))
  )
}

function isAtLeast(version: KernelVersion, minimum: KernelVersion): boolean {
  return version.kernel > minimum.kernel || (version.kernel === minimum.kernel && version.major >= minimum.major)
}

function parseKernelVersion(release: string): KernelVersion {
  const match = /^(\d+)\.(\d+)/.exec(release)
  if (match === null) {
    throw new BerthError('invalidArgument', `Cannot read kernel version "${release}": no <kernel>.<major> at its start`)
  }
  return { kernel: Number(match[1]), major: Number(match[2]) }
}

/** Docker's profile format as typed data. Source: moby/profiles seccomp.go (Seccomp, Syscall, Filter, KernelVersion). */
import type { SeccompConfig, SeccompSyscall } from '../linux/seccomp/config.ts'

/** A kernel version without its minor revision and suffix, which conditions never look at. */
export interface KernelVersion {
  readonly kernel: number
  readonly major: number
}

/** When a rule applies. All lists given must match; of `arches` one is enough, of included `caps` all are needed. */
export interface ProfileFilter {
  readonly caps?: readonly string[]
  /** libseccomp's short words: amd64, arm64, x32, s390x, … */
  readonly arches?: readonly string[]
  readonly minKernel?: KernelVersion
}

/** A rule with conditions, settled by `resolveProfile`. */
export interface ProfileSyscall extends SeccompSyscall {
  readonly includes?: ProfileFilter
  readonly excludes?: ProfileFilter
}

/** A machine's architecture and those it also runs. */
export interface ProfileArchitecture {
  readonly architecture: string
  readonly subArchitectures: readonly string[]
}

/** A profile as Docker's file format has it, checked. `archMap` and `architectures` exclude each other. */
export interface DockerProfile extends SeccompConfig {
  readonly archMap?: readonly ProfileArchitecture[]
  readonly syscalls?: readonly ProfileSyscall[]
}

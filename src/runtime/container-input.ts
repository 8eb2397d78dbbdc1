import type { CgroupLayout } from '../host/cgroup/layout.ts'
import type { CgroupLocation } from '../host/cgroup/location.ts'
import type { NamespaceType } from '../linux/namespaces.ts'
import type { RuntimeSpec } from '../oci/runtime-spec.ts'
import type { OverlayLayers, SnapshotRoot, Veil, VeilEntry } from '../snapshot/root-source.ts'
import type { CgroupComposition } from './compose-cgroup.ts'
import type { NetDeviceMove } from './net-devices.ts'

export type { OverlayLayers, Veil, VeilEntry }

/** Where a container's root filesystem comes from. */
export type RootSource =
  | SnapshotRoot
  | {
      /**
       * The same view as an overlay for a user without privileges: the kernel lets no user namespace overlay a tree that has mounts in it,
       * lest it shows what they cover. So the root is a plain directory, and those below it that are free of mounts have an overlay each.
       */
      readonly kind: 'patchwork'
      readonly path: string
      readonly patches: readonly Patch[]
    }

/** An overlay at one place of a root filesystem. */
export interface Patch extends OverlayLayers {
  /** Absolute, inside the container. */
  readonly target: string
}

/** What composers need to know of the machine: read once, so that they stay pure. */
export interface HostFacts {
  readonly kernel: readonly [major: number, minor: number]
  readonly cgroups: CgroupLayout
  /** What each bind source is: a directory, or anything else (a file, socket, device). */
  readonly directories: ReadonlySet<string>
  readonly appArmor: boolean
  readonly seLinux: boolean
  /** Whether the launcher is root in the initial user namespace, or has what it needs as if. */
  readonly privileged: boolean
  /** Hard rlimits of the launcher by name; raising above them is the privileged launcher's task. */
  readonly hardLimits: Readonly<Record<string, bigint>>
  /** The environment for hooks that name none; empty where there are no hooks. */
  readonly environment: readonly string[]
  /** /proc/kcore exists, so /dev/core points there. */
  readonly kcore: boolean
}

/** What becomes of the launcher when the container exists. */
export type Ending =
  | { readonly kind: 'exit' }
  | { readonly kind: 'wait' }
  | {
      /** It stays as the shim, see docs/shim-protocol.md. */
      readonly kind: 'serve'
      readonly stdin: boolean
      readonly log: {
        readonly directory: string
        readonly name: string
        readonly maxBytes: number
        readonly maxFiles: number
      } | null
    }

/** How a process's stdio is connected by the one who starts it. */
export interface StdioInput {
  /** Whether the launcher's stdin, stdout, stderr are pipes, which are given to the container's user. */
  readonly pipes: readonly [boolean, boolean, boolean]
  /** Where the terminal's master is sent; null when the launcher keeps it (`serve`). */
  readonly consoleSocket: string | null
  readonly preservedFds: number
}

/** All that a container's plan depends on, found beforehand so that composing it is pure: same input, same plan. */
export interface ContainerInput {
  readonly id: string
  readonly spec: RuntimeSpec
  /** Absolute path. */
  readonly bundle: string
  /** Absolute path of the container's own directory below the runtime's root, mode 0700. */
  readonly stateDirectory: string
  readonly root: RootSource
  readonly facts: HostFacts
  readonly cgroup: CgroupComposition
  readonly cgroupLocation: CgroupLocation
  readonly netDevices: readonly NetDeviceMove[]
  readonly stdio: StdioInput
  /** 'on request': the process waits at `start.sock` before execve. */
  readonly start: 'on request' | 'now'
  readonly ending: Ending
  readonly pivot: boolean
  readonly newKeyring: boolean
}

/** The namespace of a kind in a config: made new, joined by path, or the runtime's own (null). */
export function namespaceOf(spec: RuntimeSpec, type: NamespaceType): { readonly path: string | null } | null {
  for (const found of spec.linux?.namespaces ?? []) {
    if (found.type === type) return { path: found.path === undefined || found.path === '' ? null : found.path }
  }
  return null
}

/** Whether the config makes a new namespace of this kind. */
export function makesNew(spec: RuntimeSpec, type: NamespaceType): boolean {
  const namespace = namespaceOf(spec, type)
  return namespace !== null && namespace.path === null
}

/** Whether the container's processes live in a user namespace other than the runtime's. */
export function inUserNamespace(spec: RuntimeSpec): boolean {
  return namespaceOf(spec, 'user') !== null
}

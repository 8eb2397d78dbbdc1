import type { Platform } from '../oci/platform.ts'
import { CONTAINER_DEFAULTS } from '../security/defaults.ts'
import type { DockerProfile } from '../security/docker-profile.ts'

/** Where a container's filesystem comes from. */
export type ImageSource =
  | { readonly kind: 'host' }
  /** A directory with a root filesystem in it; the container writes to a layer of its own on top. */
  | { readonly kind: 'rootfs'; readonly path: string }
  /** An OCI image layout directory, and which of its images. */
  | {
      readonly kind: 'layout'
      readonly path: string
      readonly tag: string | null
      /** Null: this machine's. */
      readonly platform: Platform | null
    }
  /** An image of the store by name or id, pulled when it is not there. */
  | {
      readonly kind: 'stored'
      readonly text: string
      readonly platform: Platform | null
      readonly pull: PullPolicy
    }

/** When to pull an image that is to run. */
export type PullPolicy = 'always' | 'missing' | 'never'

/** A bind mount. */
export interface BindOption {
  /** Absolute. */
  readonly source: string
  readonly target: string
  readonly options: readonly string[]
}

/** A tmpfs of a container. */
export interface TmpfsOption {
  readonly target: string
  readonly options: readonly string[]
}

/** A device of the host (`--device HOST[:PATH[:ACCESS]]`). */
export interface DeviceOption {
  readonly hostPath: string
  readonly path: string
  /** Some of `rwm`. */
  readonly access: string
}

/** A resource limit (`--ulimit`), in the units of setrlimit(2). */
export interface UlimitOption {
  /** `RLIMIT_NOFILE`. */
  readonly type: string
  readonly soft: bigint
  readonly hard: bigint
}

/** Limits; absent means the default or none. */
export interface ResourceOptions {
  readonly memoryBytes?: bigint
  readonly memorySwapBytes?: bigint
  readonly memoryReservationBytes?: bigint
  /** 1.5 CPUs are 150,000 µs of each 100,000 µs. */
  readonly cpus?: number
  readonly cpuShares?: bigint
  readonly cpusetCpus?: string
  readonly cpusetMems?: string
  /** -1: unlimited. */
  readonly pidsLimit?: bigint
  readonly blkioWeight?: number
}

/** Everything a user may say about a new container, after parsing: what `berth run` and, later, the API's create have in common. */
export interface ContainerOptions {
  readonly image: ImageSource
  /** What follows the image; empty: the image's own command. */
  readonly command: readonly string[]
  /** Null: the image's. An empty list: none. */
  readonly entrypoint: readonly string[] | null
  readonly name: string | null
  readonly hostname: string | null
  readonly domainname: string | null
  /** `NAME=VALUE`. */
  readonly env: readonly string[]
  readonly workdir: string | null
  /** As written: `user`, `uid:gid`, …; null: the image's. */
  readonly user: string | null
  readonly groupAdd: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly terminal: boolean
  readonly interactive: boolean
  readonly autoRemove: boolean
  readonly init: boolean
  readonly readonlyRoot: boolean
  readonly privileged: boolean
  /** `host`: no user namespace. */
  readonly userns: 'auto' | 'host'
  readonly network: 'none' | 'host'
  readonly extraHosts: readonly string[]
  readonly binds: readonly BindOption[]
  readonly tmpfs: readonly TmpfsOption[]
  readonly shmSizeBytes: number
  readonly devices: readonly DeviceOption[]
  readonly ulimits: readonly UlimitOption[]
  readonly sysctl: Readonly<Record<string, string>>
  readonly capAdd: readonly string[]
  readonly capDrop: readonly string[]
  readonly noNewPrivileges: boolean
  /** Null: unconfined. */
  readonly seccomp: 'builtin' | DockerProfile | null
  readonly appArmor: string | null
  readonly seLinuxLabel: string | null
  /** False: no masked and read-only paths (`systempaths=unconfined`). */
  readonly maskPaths: boolean
  readonly oomScoreAdj: number | null
  readonly cgroupParent: string | null
  readonly resources: ResourceOptions
}

/** A container of which nothing is said but its image: isolated as every container is by default. */
export const PLAIN_CONTAINER: Omit<ContainerOptions, 'image'> = {
  command: [],
  entrypoint: null,
  name: null,
  hostname: null,
  domainname: null,
  env: [],
  workdir: null,
  user: null,
  groupAdd: [],
  labels: {},
  annotations: {},
  terminal: false,
  interactive: false,
  autoRemove: false,
  init: false,
  readonlyRoot: false,
  privileged: false,
  userns: 'auto',
  network: 'none',
  extraHosts: [],
  binds: [],
  tmpfs: [],
  shmSizeBytes: CONTAINER_DEFAULTS.shmSizeBytes,
  devices: [],
  ulimits: [],
  sysctl: {},
  capAdd: [],
  capDrop: [],
  noNewPrivileges: CONTAINER_DEFAULTS.noNewPrivileges,
  seccomp: 'builtin',
  appArmor: null,
  seLinuxLabel: null,
  maskPaths: true,
  oomScoreAdj: null,
  cgroupParent: null,
  resources: {},
}

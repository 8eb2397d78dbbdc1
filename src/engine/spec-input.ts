import type { ImageConfig } from '../image/image.ts'
import type { SeccompConfig } from '../linux/seccomp/config.ts'
import type { ContainerIds } from '../security/id-ranges.ts'
import type { ContainerOptions } from './container-options.ts'
import type { ResolvedUser } from './user.ts'

/** What a container's config depends on besides its options. Everything here was found beforehand, so that composing is pure. */
export interface SpecInput {
  readonly id: string
  readonly options: ContainerOptions
  readonly image: ImageConfig
  readonly user: ResolvedUser
  /** Null: the host's user namespace. */
  readonly ids: ContainerIds | null
  /** Without privileges on the host: no idmapped mounts, no filter of devices. */
  readonly rootless: boolean
  /** `linux.cgroupsPath`; null: there is no right to make a cgroup, so no limit that was not asked for is set. */
  readonly cgroupsPath: string | null
  /** The container's own directory, with the generated files in it. */
  readonly directory: string
  /** The seccomp section for these capabilities; null: unconfined. */
  readonly seccomp: SeccompConfig | null
  /** Directories that hide side channels of each CPU. */
  readonly cpuPaths: readonly string[]
  /** Path of berth-init on the host, for `--init`. */
  readonly initPath: string
  /** Host devices by path, for `--device` and `--privileged`. */
  readonly devices: readonly HostDevice[]
  /** The engine's own permitted capabilities. */
  readonly available: bigint
  readonly hardNofile: bigint | null
  /** Size of our terminal. */
  readonly consoleSize: { readonly rows: number; readonly columns: number } | null
}

/** A device node of the host. */
export interface HostDevice {
  readonly type: 'c' | 'b'
  readonly hostPath: string
  readonly path: string
  readonly major: number
  readonly minor: number
  readonly access: string
}

/** Where `--init` puts its program: always there, since /dev is a filesystem of the container's own. */
export const INIT_PATH = '/dev/init'

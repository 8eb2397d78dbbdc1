/** What this runtime can do, the document of `features`. Source: runtime-spec, features.md and features-linux.md. */

import {
  flag,
  list,
  map,
  matching,
  object,
  oneOf,
  parseJson,
  required,
  type Shape,
  text,
  texts,
} from '../lib/json-shape.ts'
import { CAPABILITIES } from '../linux/capabilities.ts'
import { MPOL_FLAG, MPOL_MODE } from '../linux/memory-policy.ts'
import { knownMountOptions } from '../linux/mount-options.ts'
import { NAMESPACES, type NamespaceType } from '../linux/namespaces.ts'
import * as seccomp from '../linux/seccomp/config.ts'
import { OCI_VERSION_MAX, OCI_VERSION_MIN } from './oci-version.ts'
import { HOOK_KINDS } from './runtime-spec.ts'
import * as linux from './runtime-spec-linux.ts'

/** The whole document. An absent list says nothing, an empty one says "none". */
export interface RuntimeFeatures {
  readonly ociVersionMin: string
  readonly ociVersionMax: string
  readonly hooks?: readonly string[]
  readonly mountOptions?: readonly string[]
  readonly linux?: LinuxFeatures
  readonly annotations?: Readonly<Record<string, string>>
  readonly potentiallyUnsafeConfigAnnotations?: readonly string[]
}

/** What is known and possible on Linux; known does not mean that the running kernel has it. Source: features-linux.md. */
export interface LinuxFeatures {
  readonly namespaces?: readonly NamespaceType[]
  readonly capabilities?: readonly string[]
  readonly cgroup?: CgroupFeatures
  readonly seccomp?: SeccompFeatures
  readonly apparmor?: Enabled
  readonly selinux?: Enabled
  readonly intelRdt?: IntelRdtFeatures
  readonly memoryPolicy?: MemoryPolicyFeatures
  readonly mountExtensions?: MountExtensions
  readonly netDevices?: Enabled
}

/** Whether the runtime was built with a thing, whatever the host offers. */
export interface Enabled {
  readonly enabled?: boolean
}

/** The cgroup versions and managers; `systemdUser`: through the user manager, without root. */
export interface CgroupFeatures {
  readonly v1?: boolean
  readonly v2?: boolean
  readonly systemd?: boolean
  readonly systemdUser?: boolean
  readonly rdma?: boolean
}

/** What the filter compiler takes; `supportedFlags` are those of `knownFlags` that the running kernel takes too. */
export interface SeccompFeatures extends Enabled {
  readonly actions?: readonly seccomp.SeccompAction[]
  readonly operators?: readonly seccomp.SeccompOperator[]
  readonly archs?: readonly linux.SeccompArchitecture[]
  readonly knownFlags?: readonly seccomp.SeccompFlag[]
  readonly supportedFlags?: readonly seccomp.SeccompFlag[]
}

/** Of resctrl: whether `schemata` and `enableMonitoring` of `linux.intelRdt` are understood. */
export interface IntelRdtFeatures extends Enabled {
  readonly schemata?: boolean
  readonly monitoring?: boolean
}

/** Words of set_mempolicy(2) that `linux.memoryPolicy` may hold. */
export interface MemoryPolicyFeatures {
  readonly modes?: readonly string[]
  readonly flags?: readonly string[]
}

/** Mounts beyond those of mount(2); `idmap`: with `uidMappings` and `gidMappings`. */
export interface MountExtensions {
  readonly idmap?: Enabled
}

/** What the tables here do not know: the program's version and what its seccomp compiler and its cgroup code cover. */
export interface Build {
  readonly version: string
  readonly seccompArchitectures: readonly linux.SeccompArchitecture[]
  /** Those the running kernel takes. */
  readonly supportedSeccompFlags: readonly seccomp.SeccompFlag[]
  readonly cgroup: CgroupFeatures
  readonly intelRdt: IntelRdtFeatures
  readonly selinux: boolean
  /** Keys, or prefixes that end with a dot, of annotations that change how a container is run. */
  readonly unsafeAnnotations: readonly string[]
}

/** The document for this program. Lists are sorted, as runc's are. */
export function runtimeFeatures(build: Build): RuntimeFeatures {
  const sorted = <T extends string>(names: readonly T[]) => [...names].sort()
  return {
    ociVersionMin: OCI_VERSION_MIN,
    ociVersionMax: OCI_VERSION_MAX,
    hooks: HOOK_KINDS,
    mountOptions: knownMountOptions(),
    linux: {
      namespaces: sorted(NAMESPACES.map(({ type }) => type)),
      capabilities: CAPABILITIES,
      cgroup: build.cgroup,
      seccomp: {
        enabled: true,
        actions: sorted(seccomp.SECCOMP_ACTIONS),
        operators: sorted(seccomp.SECCOMP_OPERATORS),
        archs: sorted(build.seccompArchitectures),
        knownFlags: sorted(seccomp.SECCOMP_FLAGS),
        supportedFlags: sorted(build.supportedSeccompFlags),
      },
      apparmor: { enabled: true },
      selinux: { enabled: build.selinux },
      intelRdt: build.intelRdt,
      memoryPolicy: { modes: sorted(Object.keys(MPOL_MODE)), flags: sorted(Object.keys(MPOL_FLAG)) },
      mountExtensions: { idmap: { enabled: true } },
      netDevices: { enabled: true },
    },
    annotations: { 'run.berth.version': build.version },
    potentiallyUnsafeConfigAnnotations: build.unsafeAnnotations,
  }
}

const enabled: Shape<Enabled> = object<Enabled>({ enabled: flag })

const featuresShape: Shape<RuntimeFeatures> = object<RuntimeFeatures>({
  ociVersionMin: required(text),
  ociVersionMax: required(text),
  hooks: texts,
  mountOptions: texts,
  annotations: map(text),
  potentiallyUnsafeConfigAnnotations: texts,
  linux: object<LinuxFeatures>({
    namespaces: list(oneOf(NAMESPACES.map(({ type }) => type))),
    capabilities: list(matching(/^CAP_[A-Z_]+$/)),
    cgroup: object<CgroupFeatures>({ v1: flag, v2: flag, systemd: flag, systemdUser: flag, rdma: flag }),
    seccomp: object<SeccompFeatures>({
      enabled: flag,
      actions: list(oneOf(seccomp.SECCOMP_ACTIONS)),
      operators: list(oneOf(seccomp.SECCOMP_OPERATORS)),
      archs: list(oneOf(linux.SECCOMP_ARCHITECTURES)),
      knownFlags: list(oneOf(seccomp.SECCOMP_FLAGS)),
      supportedFlags: list(oneOf(seccomp.SECCOMP_FLAGS)),
    }),
    apparmor: enabled,
    selinux: enabled,
    intelRdt: object<IntelRdtFeatures>({ enabled: flag, schemata: flag, monitoring: flag }),
    memoryPolicy: object<MemoryPolicyFeatures>({ modes: texts, flags: texts }),
    mountExtensions: object<MountExtensions>({ idmap: enabled }),
    netDevices: enabled,
  }),
})

/**
 * Parses a features document, of this runtime or of another.
 * @throws {BerthError} invalidArgument, naming the path of what is wrong.
 */
export function parseRuntimeFeatures(json: string): RuntimeFeatures {
  return parseJson(json, 'features', featuresShape).value
}

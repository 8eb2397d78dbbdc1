/** The shapes of config.json's sections for other platforms. Source: runtime-spec, schema/config-*.json and defs-*.json. */

import {
  flag,
  integer,
  later,
  list,
  map,
  object,
  oneOf,
  type Required,
  required,
  type Shape,
  text,
  texts,
  uint16,
  uint32,
  uint64,
} from '../lib/json-shape.ts'
import type { FreeBSD, Solaris, VM, Windows, ZOS } from './runtime-spec-platforms.ts'

type Loose = Readonly<Record<string, unknown>>

/** An object whose properties are checked and whose type stays open. */
function loose(properties: Readonly<Record<string, Shape<unknown> | Required<unknown>>>): Shape<Loose> {
  return object<Loose>(properties as never)
}

const sharing = oneOf(['disable', 'new', 'inherit'])
const sharingWithoutDisable = oneOf(['new', 'inherit'])
const anything: Shape<unknown> = value => value

/** `freebsd` of config.json. */
export const freebsdShape: Shape<FreeBSD> = later(() =>
  loose({
    devices: list(loose({ path: text, mode: integer(0, 0o777) })),
    jail: loose({
      parent: text,
      host: sharingWithoutDisable,
      ip4: sharing,
      ip4Addr: texts,
      ip6: sharing,
      ip6Addr: texts,
      vnet: sharingWithoutDisable,
      interface: text,
      vnetInterfaces: texts,
      sysvmsg: sharing,
      sysvsem: sharing,
      sysvshm: sharing,
      enforceStatfs: integer(0, 255),
      allow: loose({
        setHostname: flag,
        rawSockets: flag,
        chflags: flag,
        mount: texts,
        quotas: flag,
        socketAf: flag,
        mlock: flag,
        reservedPorts: flag,
        suser: flag,
      }),
    }),
  }),
)

/** `solaris` of config.json. */
export const solarisShape: Shape<Solaris> = later(() =>
  loose({
    milestone: text,
    limitpriv: text,
    maxShmMemory: text,
    cappedCPU: loose({ ncpus: text }),
    cappedMemory: loose({ physical: text, swap: text }),
    anet: list(
      loose({
        linkname: text,
        lowerLink: text,
        allowedAddress: text,
        configureAllowedAddress: text,
        defrouter: text,
        macAddress: text,
        linkProtection: text,
      }),
    ),
  }),
)

/** `vm` of config.json. */
export const vmShape: Shape<VM> = later(() =>
  loose({
    hypervisor: loose({ path: required(text), parameters: texts }),
    kernel: required(loose({ path: required(text), parameters: texts, initrd: text })),
    image: loose({ path: required(text), format: required(oneOf(['raw', 'qcow2', 'vdi', 'vmdk', 'vhd'])) }),
    hwConfig: loose({
      deviceTree: text,
      vcpus: uint32,
      memory: uint64,
      dtdevs: texts,
      iomems: list(loose({ firstGFN: uint64, firstMFN: required(uint64), nrMFNs: required(uint64) })),
      irqs: list(uint32),
    }),
  }),
)

/** `windows` of config.json. */
export const windowsShape: Shape<Windows> = later(() =>
  loose({
    layerFolders: required(list(text, 1)),
    devices: list(loose({ id: required(text), idType: required(oneOf(['class'])) })),
    resources: loose({
      memory: loose({ limit: uint64 }),
      cpu: loose({
        count: uint64,
        shares: uint16,
        maximum: uint16,
        affinity: loose({ mask: uint64, group: uint32 }),
      }),
      storage: loose({ iops: uint64, bps: uint64, sandboxSize: uint64 }),
    }),
    network: loose({
      endpointList: texts,
      allowUnqualifiedDNSQuery: flag,
      DNSSearchList: texts,
      networkSharedContainerName: text,
      networkNamespace: text,
    }),
    credentialSpec: map(anything),
    servicing: flag,
    ignoreFlushesDuringBoot: flag,
    hyperv: loose({ utilityVMPath: text }),
  }),
)

/** `zos` of config.json. */
export const zosShape: Shape<ZOS> = later(() =>
  loose({
    namespaces: list(loose({ type: required(oneOf(['mount', 'pid', 'uts', 'ipc'])), path: text })),
  }),
)

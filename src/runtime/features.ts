import { existsSync } from 'node:fs'
import { release } from 'node:os'
import { KNOWN_ARCHITECTURES } from '../linux/seccomp/architectures.ts'
import type { SeccompFlag } from '../linux/seccomp/config.ts'
import { type RuntimeFeatures, runtimeFeatures } from '../oci/runtime-features.ts'
import { SECCOMP_ARCHITECTURES } from '../oci/runtime-spec-linux.ts'
import { kernelVersion } from './host-facts.ts'

/** What this runtime can do. The spec wants what it is able to, not what this host offers, except for seccomp's flags. */
export function describeFeatures(version: string): RuntimeFeatures {
  return runtimeFeatures({
    version,
    seccompArchitectures: SECCOMP_ARCHITECTURES.filter(each => KNOWN_ARCHITECTURES.includes(each)),
    supportedSeccompFlags: existsSync('/proc/sys/kernel/seccomp') ? kernelSeccompFlags(kernelVersion(release())) : [],
    cgroup: { v1: true, v2: true, systemd: true, systemdUser: true, rdma: true },
    intelRdt: { enabled: false },
    selinux: true,
    unsafeAnnotations: ['org.systemd.property.'],
  })
}

/** The first kernel of each flag that is younger than the oldest kernel Berth runs on (5.15). Source: seccomp(2). */
export function kernelSeccompFlags([major, minor]: readonly [number, number]): readonly SeccompFlag[] {
  const flags: SeccompFlag[] = [
    'SECCOMP_FILTER_FLAG_TSYNC',
    'SECCOMP_FILTER_FLAG_LOG',
    'SECCOMP_FILTER_FLAG_SPEC_ALLOW',
  ]
  const waits = major > 5 || (major === 5 && minor >= 19)
  return waits ? [...flags, 'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'] : flags
}

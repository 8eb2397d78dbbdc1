/** Linux capabilities by name and number. Source: capabilities(7), include/uapi/linux/capability.h (41 as of Linux 5.9). */

/** All capabilities; the index is the number. */
export const CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
] as const

/** A capability's full name, such as `CAP_NET_ADMIN`. */
export type Capability = (typeof CAPABILITIES)[number]

/** What Docker gives a container that asks for nothing: 14 capabilities. */
export const DOCKER_DEFAULT_CAPABILITIES: readonly Capability[] = Object.freeze([
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
])

/** Whether `name` is a capability, spelled exactly as the OCI config spells it (`CAP_` and upper case). */
export function isCapability(name: string): name is Capability {
  return (CAPABILITIES as readonly string[]).includes(name)
}

/** The number of a capability, 0 to 40. */
function capabilityNumber(name: Capability): number {
  return CAPABILITIES.indexOf(name)
}

/** The mask with a bit per capability, as capset(2) and /proc/PID/status have it. */
export function capabilityMask(names: Iterable<Capability>): bigint {
  let mask = 0n
  for (const name of names) mask |= 1n << BigInt(capabilityNumber(name))
  return mask
}

/** The names in a mask, lowest bit first; a bit newer than this table reads `CAP_41`. */
export function capabilityNames(mask: bigint): readonly string[] {
  const names: string[] = []
  for (let number = 0; number < 64; number += 1) {
    if (((mask >> BigInt(number)) & 1n) === 1n) names.push(CAPABILITIES[number] ?? `CAP_${number}`)
  }
  return names
}

/**
 * Reads a capability as people type it: `net_admin`, `NET_ADMIN`, `cap_net_admin` and `CAP_NET_ADMIN` are the same.
 * Returns undefined when there is no such capability. `ALL` is no capability; whoever accepts it asks for it first.
 */
export function parseCapability(text: string): Capability | undefined {
  const upper = text.toUpperCase()
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`
  return isCapability(name) ? name : undefined
}

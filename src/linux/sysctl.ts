/** Names of kernel parameters. Source: sysctl(8), sysctl.d(5), proc_sys(5), namespaces(7). */

import type { NamespaceType } from './namespaces.ts'

/** SysV IPC parameters, one set per ipc namespace. */
const IPC_NAMES: ReadonlySet<string> = new Set([
  'kernel/msgmax',
  'kernel/msgmnb',
  'kernel/msgmni',
  'kernel/sem',
  'kernel/shmall',
  'kernel/shmmax',
  'kernel/shmmni',
  'kernel/shm_rmid_forced',
])

/**
 * The path of a parameter below /proc/sys; undefined for a name that is none. The first separator decides: in
 * `net.ipv4.conf.eth0/100.rp_filter` dots separate and the slash stands for a dot within a name, and in
 * `net/ipv4/conf/eth0.100/rp_filter` it is the other way round. No part of the path is empty, `.` or `..`.
 */
export function sysctlPath(name: string): string | undefined {
  const separator = /[./]/.exec(name)?.[0]
  if (separator === undefined) return undefined
  const path = separator === '/' ? name : name.replaceAll(/[./]/g, char => (char === '.' ? '/' : '.'))
  // No parameter's name has such characters; '+' and '=' have been used to smuggle a second one (CVE-2022-0811).
  if (!/^[^\s\0-\x20\x7f+=]+$/.test(path)) return undefined
  return path.split('/').some(part => part === '' || part === '.' || part === '..') ? undefined : path
}

/**
 * The kind of namespace that has its own copy of a parameter, by its path below /proc/sys; undefined when the whole
 * machine shares it. `kernel/hostname` is left to `hostname` of the config.
 */
export function sysctlNamespace(path: string): NamespaceType | undefined {
  if (path.startsWith('net/')) return 'network'
  if (path.startsWith('fs/mqueue/') || IPC_NAMES.has(path)) return 'ipc'
  if (path === 'kernel/domainname' || path === 'kernel/hostname') return 'uts'
  if (path.startsWith('user/')) return 'user'
  return undefined
}

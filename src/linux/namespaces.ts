/** The eight kinds of namespace. Source: namespaces(7), clone(2), runtime-spec › Linux Namespaces. */

/** A kind of namespace as the runtime-spec spells it. */
export type NamespaceType = 'mount' | 'pid' | 'network' | 'ipc' | 'uts' | 'user' | 'cgroup' | 'time'

export const CLONE_NEWTIME = 0x80
export const CLONE_NEWNS = 0x2_0000
export const CLONE_NEWCGROUP = 0x200_0000
export const CLONE_NEWUTS = 0x400_0000
export const CLONE_NEWIPC = 0x800_0000
export const CLONE_NEWUSER = 0x1000_0000
export const CLONE_NEWPID = 0x2000_0000
export const CLONE_NEWNET = 0x4000_0000

/** A kind and what the kernel calls it in its two interfaces. */
export interface NamespaceKind {
  readonly type: NamespaceType
  /** The flag of clone(2), unshare(2) and setns(2). */
  readonly cloneFlag: number
  /** Its file below /proc/PID/ns. */
  readonly procName: string
}

function kind(type: NamespaceType, cloneFlag: number, procName: string): NamespaceKind {
  return Object.freeze({ type, cloneFlag, procName })
}

/**
 * All kinds, in the order in which existing ones are joined: user first, because its capabilities permit the others,
 * and mount last, because paths of the others are resolved before it.
 */
export const NAMESPACES: readonly NamespaceKind[] = Object.freeze([
  kind('user', CLONE_NEWUSER, 'user'),
  kind('cgroup', CLONE_NEWCGROUP, 'cgroup'),
  kind('ipc', CLONE_NEWIPC, 'ipc'),
  kind('uts', CLONE_NEWUTS, 'uts'),
  kind('network', CLONE_NEWNET, 'net'),
  kind('pid', CLONE_NEWPID, 'pid'),
  kind('time', CLONE_NEWTIME, 'time'),
  kind('mount', CLONE_NEWNS, 'mnt'),
])

const BY_TYPE = new Map(NAMESPACES.map(namespace => [namespace.type as string, namespace]))
const BY_PROC_NAME = new Map(NAMESPACES.map(namespace => [namespace.procName, namespace]))
const BY_FLAG = new Map(NAMESPACES.map(namespace => [namespace.cloneFlag, namespace]))

/** The kind with this runtime-spec name, or undefined. */
export function namespaceOfType(type: string): NamespaceKind | undefined {
  return BY_TYPE.get(type)
}

/** The kind whose file is /proc/PID/ns/`procName` (also of the `_for_children` files), or undefined. */
export function namespaceOfProcName(procName: string): NamespaceKind | undefined {
  return BY_PROC_NAME.get(procName.replace(/_for_children$/, ''))
}

/** The kind that a single CLONE_NEW* flag makes, or undefined. */
export function namespaceOfCloneFlag(cloneFlag: number): NamespaceKind | undefined {
  return BY_FLAG.get(cloneFlag)
}

/** A parsed link target of /proc/PID/ns, such as `mnt:[4026531840]`. */
export interface NamespaceLink {
  readonly type: NamespaceType
  readonly inode: number
}

/** Parses what readlink(2) says of a file below /proc/PID/ns; undefined for any other text. */
export function parseNamespaceLink(text: string): NamespaceLink | undefined {
  const match = /^([a-z_]+):\[(\d+)\]$/.exec(text)
  const found = match === null ? undefined : namespaceOfProcName(match[1] ?? '')
  return match === null || found === undefined ? undefined : { type: found.type, inode: Number(match[2]) }
}

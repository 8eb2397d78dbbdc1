import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { parseIdMap } from '../linux/id-map.ts'
import { parseMountInfo } from '../linux/mountinfo.ts'
import type {
  IdMaps,
  NamespaceHolder,
  NamespaceMember,
  NamespaceSighting,
  NamespaceSightings,
  ProcessSighting,
} from '../linux/namespace-tree.ts'
import { namespaceOfProcName, namespaceOfType, parseNamespaceLink } from '../linux/namespaces.ts'
import { parseProcStatus } from '../linux/proc-stat.ts'
import { readNamespaceRelations } from './namespace-relations.ts'

/** The namespaces of the machine, as far as the caller may see them, and what it may not. */
export interface NamespaceScan extends NamespaceSightings {
  /** Processes whose namespaces may not be seen (ptrace access: another user's, or with more capabilities). */
  readonly hiddenProcessCount: number
  /** Processes whose open files or mounts may not be seen, so that a namespace held by them alone is missing. */
  readonly hiddenHolderCount: number
  /** Namespaces whose owner or parent was not told. */
  readonly hiddenFamilyCount: number
  /** Why no namespace's owner and parent could be asked; null: they were. */
  readonly familyError: string | null
}

/**
 * Looks at every process of this /proc: its namespaces, those that it holds by open files, and bind mounts of namespace
 * files in every mount namespace. A process that ends meanwhile is as if it had not been.
 */
export async function scanNamespaces(): Promise<NamespaceScan> {
  const processes: ProcessSighting[] = []
  const holders: NamespaceHolder[] = []
  const idMaps = new Map<number, IdMaps>()
  const mountNamespaces = new Set<number>()
  let hiddenProcessCount = 0
  const hiddenHolders = new Set<number>()
  for (const pid of processIds()) {
    const namespaces = seen(() => namespacesOf(pid))
    if (namespaces === 'hidden') hiddenProcessCount++
    if (namespaces === 'gone' || namespaces === 'hidden' || namespaces.length === 0) continue
    processes.push({ pid, ...identityOf(pid), namespaces })
    readIdMaps(pid, namespaces, idMaps)
    collect(holders, hiddenHolders, pid, () => fdsOf(pid))
    const mount = namespaces.find(each => each.type === 'mount')?.inode
    if (mount === undefined || mountNamespaces.has(mount)) continue
    if (collect(holders, hiddenHolders, pid, () => mountsOf(pid))) mountNamespaces.add(mount)
  }
  const paths = namespacePaths(processes, holders)
  const family = await readNamespaceRelations([...paths.values()])
  return {
    processes,
    holders,
    idMaps,
    hiddenProcessCount,
    hiddenHolderCount: hiddenHolders.size,
    relations: family.relations,
    hiddenFamilyCount: family.hiddenCount,
    familyError: family.error,
  }
}

function processIds(): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b)
}

/** What a look into /proc gave; 'gone' when the process ended, 'hidden' when it may not be looked at. */
function seen<T>(look: () => T): T | 'gone' | 'hidden' {
  try {
    return look()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    // EINVAL: the process is a zombie, which has no files and mounts any more (mounts_open_common).
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EINVAL') return 'gone'
    if (code === 'EACCES' || code === 'EPERM') return 'hidden'
    throw error
  }
}

function namespacesOf(pid: number): NamespaceSighting[] {
  const sightings: NamespaceSighting[] = []
  for (const name of readdirSync(`/proc/${pid}/ns`)) {
    const forChildren = name.endsWith('_for_children')
    const target = seen(() => readlinkSync(`/proc/${pid}/ns/${name}`))
    if (target === 'hidden') throw Object.assign(new Error(`/proc/${pid}/ns`), { code: 'EACCES' })
    // `pid_for_children` is there, but leads nowhere, before the first child of unshare(CLONE_NEWPID).
    const link = parseNamespaceLink(target)
    if (link !== undefined && namespaceOfProcName(name) !== undefined) sightings.push({ ...link, forChildren })
  }
  return sightings
}

function identityOf(pid: number): Omit<NamespaceMember, 'pid'> {
  const status = seen(() => parseProcStatus(readFileSync(`/proc/${pid}/status`, 'utf8')))
  if (typeof status === 'string') return { comm: '?', uid: null, isKernelThread: false }
  const uid = Number(status.get('Uid')?.split(/\s+/)[0])
  return {
    comm: status.get('Name') ?? '?',
    uid: Number.isInteger(uid) ? uid : null,
    // A kernel thread has no memory of its own; neither has a zombie, but that is still somebody's program.
    isKernelThread: !status.has('VmSize') && !(status.get('State') ?? '').startsWith('Z'),
  }
}

function readIdMaps(pid: number, namespaces: readonly NamespaceSighting[], idMaps: Map<number, IdMaps>): void {
  const user = namespaces.find(each => each.type === 'user')?.inode
  if (user === undefined || idMaps.has(user)) return
  const read = (name: string) => parseIdMap(readFileSync(`/proc/${pid}/${name}`, 'utf8'))
  const maps = seen(() => ({ uid: read('uid_map'), gid: read('gid_map') }))
  if (typeof maps !== 'string') idMaps.set(user, maps)
}

/** Adds holders; false when there was nothing to be seen. */
function collect(holders: NamespaceHolder[], hidden: Set<number>, pid: number, look: () => NamespaceHolder[]): boolean {
  const found = seen(look)
  if (found === 'hidden') hidden.add(pid)
  if (typeof found === 'string') return false
  holders.push(...found)
  return true
}

function fdsOf(pid: number): NamespaceHolder[] {
  const holders: NamespaceHolder[] = []
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    const link = parseNamespaceLink(seen(() => readlinkSync(`/proc/${pid}/fd/${fd}`)))
    if (link !== undefined) holders.push({ kind: 'fd', ...link, pid, fd: Number(fd) })
  }
  return holders
}

function mountsOf(pid: number): NamespaceHolder[] {
  const holders: NamespaceHolder[] = []
  for (const mount of parseMountInfo(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'))) {
    if (mount.fstype !== 'nsfs') continue
    const link = parseNamespaceLink(mount.root)
    if (link !== undefined) holders.push({ kind: 'mount', ...link, path: mount.mountPoint, pid })
  }
  return holders
}

/** A file of each namespace, by its inode: of a process when there is one, else of who holds it. */
function namespacePaths(
  processes: readonly ProcessSighting[],
  holders: readonly NamespaceHolder[],
): ReadonlyMap<number, string> {
  const paths = new Map<number, string>()
  const add = (inode: number, path: string) => {
    if (!paths.has(inode)) paths.set(inode, path)
  }
  for (const { pid, namespaces } of processes)
    for (const { type, inode, forChildren } of namespaces)
      add(inode, `/proc/${pid}/ns/${namespaceOfType(type)?.procName}${forChildren ? '_for_children' : ''}`)
  for (const holder of holders)
    add(
      holder.inode,
      holder.kind === 'fd' ? `/proc/${holder.pid}/fd/${holder.fd}` : `/proc/${holder.pid}/root${holder.path}`,
    )
  return paths
}

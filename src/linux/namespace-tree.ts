/**
 * Who is in which namespace, and which is nested in which: pure, from what was seen in /proc and what nsfs says.
 *
 * Terms: a namespace of any kind is *owned* by a user namespace (whose capabilities count in it); user and PID
 * namespaces also have a *parent*. For a user namespace owner and parent are the same.
 * Source: namespaces(7), user_namespaces(7), pid_namespaces(7), ioctl_nsfs(2).
 */
import type { IdMapping } from './id-map.ts'
import { NAMESPACES, type NamespaceType } from './namespaces.ts'

/** A process as it was seen. */
export interface ProcessSighting {
  readonly pid: number
  readonly comm: string
  /** Its real user id as seen from here; null when not readable. */
  readonly uid: number | null
  readonly isKernelThread: boolean
  readonly namespaces: readonly NamespaceSighting[]
}

/** One namespace of a process: its own, or the one its next children will be in (`pid_for_children`). */
export interface NamespaceSighting {
  readonly type: NamespaceType
  readonly inode: number
  readonly forChildren: boolean
}

/** Something other than a process that keeps a namespace alive. */
export type NamespaceHolder =
  /** A bind mount of its file, as seen in the mount namespace of that process. */
  | {
      readonly kind: 'mount'
      readonly type: NamespaceType
      readonly inode: number
      readonly path: string
      readonly pid: number
    }
  | {
      readonly kind: 'fd'
      readonly type: NamespaceType
      readonly inode: number
      readonly pid: number
      readonly fd: number
    }

/** What a namespace says about its family; null: not known, or none. */
export interface NamespaceRelation {
  readonly type: NamespaceType
  readonly inode: number
  readonly parent: number | null
  /** The user namespace it belongs to. */
  readonly owner: number | null
  /** Of a user namespace: the user who made it, as seen from here. */
  readonly ownerUid: number | null
}

/** The id maps of a user namespace, as seen from here. */
export interface IdMaps {
  readonly uid: readonly IdMapping[]
  readonly gid: readonly IdMapping[]
}

/** Everything that was seen of the machine's namespaces. */
export interface NamespaceSightings {
  readonly processes: readonly ProcessSighting[]
  readonly holders: readonly NamespaceHolder[]
  readonly relations: readonly NamespaceRelation[]
  /** By inode of a user namespace. */
  readonly idMaps: ReadonlyMap<number, IdMaps>
}

/** A process in a namespace. */
export type NamespaceMember = Omit<ProcessSighting, 'namespaces'>

/** A namespace with all that is known of it. */
export interface Namespace extends NamespaceRelation {
  /** Programs first, then kernel threads, each in the order in which they were seen. */
  readonly members: readonly NamespaceMember[]
  /** Processes whose next children will be in it, but which are not. */
  readonly waitingMembers: readonly NamespaceMember[]
  readonly mounts: readonly string[]
  readonly fds: readonly { readonly pid: number; readonly fd: number }[]
  /** Of a user namespace; null when it could not be read. */
  readonly idMaps: IdMaps | null
}

/** Groups what was seen by namespace, ordered by kind and then by inode number. */
export function groupNamespaces(sightings: NamespaceSightings): Namespace[] {
  const drafts = new Map<number, Draft>()
  for (const process of sightings.processes) addProcess(drafts, process)
  for (const holder of sightings.holders) addHolder(drafts, holder)
  for (const relation of sightings.relations) addRelation(drafts, relation)
  for (const [inode, maps] of sightings.idMaps) {
    const draft = drafts.get(inode)
    if (draft !== undefined) draft.idMaps = maps
  }
  for (const draft of drafts.values()) draft.members.sort((a, b) => Number(a.isKernelThread) - Number(b.isKernelThread))
  return [...drafts.values()].sort(byKindAndInode)
}

type Draft = { -readonly [K in keyof Namespace]: Namespace[K] extends readonly (infer E)[] ? E[] : Namespace[K] }

function draftOf(drafts: Map<number, Draft>, type: NamespaceType, inode: number): Draft {
  const known = drafts.get(inode)
  if (known !== undefined) return known
  const family = { parent: null, owner: null, ownerUid: null, idMaps: null }
  const draft: Draft = { type, inode, ...family, members: [], waitingMembers: [], mounts: [], fds: [] }
  drafts.set(inode, draft)
  return draft
}

function addProcess(drafts: Map<number, Draft>, process: ProcessSighting): void {
  const { namespaces, ...member } = process
  const own = new Set(namespaces.filter(each => !each.forChildren).map(each => each.inode))
  for (const { type, inode, forChildren } of namespaces) {
    const draft = draftOf(drafts, type, inode)
    if (!forChildren) draft.members.push(member)
    else if (!own.has(inode)) draft.waitingMembers.push(member)
  }
}

function addHolder(drafts: Map<number, Draft>, holder: NamespaceHolder): void {
  const draft = draftOf(drafts, holder.type, holder.inode)
  if (holder.kind === 'fd') draft.fds.push({ pid: holder.pid, fd: holder.fd })
  else if (!draft.mounts.includes(holder.path)) draft.mounts.push(holder.path)
}

function addRelation(drafts: Map<number, Draft>, relation: NamespaceRelation): void {
  const draft = draftOf(drafts, relation.type, relation.inode)
  // Inode numbers come again: between looking and asking, another namespace may have got this one's.
  if (draft.type !== relation.type) return
  Object.assign(draft, relation)
  // A parent or owner that nothing else shows lives on by this descendant alone.
  if (relation.owner !== null) draftOf(drafts, 'user', relation.owner)
  if (relation.parent !== null) draftOf(drafts, relation.type, relation.parent)
}

function byKindAndInode(a: Namespace, b: Namespace): number {
  return kindOrder(a.type) - kindOrder(b.type) || a.inode - b.inode
}

function kindOrder(type: NamespaceType): number {
  return NAMESPACES.findIndex(kind => kind.type === type)
}

/** A user namespace with what belongs to it. */
export interface UserNamespaceNode {
  readonly namespace: Namespace
  /** Those of the other kinds that it owns; PID namespaces as trees. */
  readonly owned: readonly OwnedNode[]
  readonly children: readonly UserNamespaceNode[]
}

/** A namespace within its owner's part of the tree. */
export interface OwnedNode {
  readonly namespace: Namespace
  /** PID namespaces made in this one by the same owner; empty for the other kinds. */
  readonly nested: readonly OwnedNode[]
}

/** All namespaces, arranged by user namespace. */
export interface NamespaceTree {
  /** User namespaces without a known parent: the initial one, and others when not all could be asked. */
  readonly roots: readonly UserNamespaceNode[]
  /** Namespaces of the other kinds whose owner is not known. */
  readonly ownerless: readonly OwnedNode[]
}

/** Arranges namespaces by owner and parent. Every namespace occurs exactly once. */
export function namespaceTree(namespaces: readonly Namespace[]): NamespaceTree {
  const users = new Set(namespaces.filter(each => each.type === 'user').map(each => each.inode))
  const byOwner = Map.groupBy(
    namespaces.filter(each => each.type !== 'user'),
    each => (each.owner !== null && users.has(each.owner) ? each.owner : null),
  )
  const byParent = Map.groupBy(
    namespaces.filter(each => each.type === 'user'),
    each => (each.parent !== null && users.has(each.parent) ? each.parent : null),
  )
  const node = (namespace: Namespace): UserNamespaceNode => ({
    namespace,
    owned: ownedNodes(byOwner.get(namespace.inode) ?? []),
    children: (byParent.get(namespace.inode) ?? []).map(node),
  })
  return { roots: (byParent.get(null) ?? []).map(node), ownerless: ownedNodes(byOwner.get(null) ?? []) }
}

function ownedNodes(namespaces: readonly Namespace[]): OwnedNode[] {
  const here = new Set(namespaces.map(each => each.inode))
  const nestedIn = (each: Namespace): number | null =>
    each.type === 'pid' && each.parent !== null && here.has(each.parent) ? each.parent : null
  const byParent = Map.groupBy(namespaces, nestedIn)
  const node = (namespace: Namespace): OwnedNode => ({
    namespace,
    nested: (byParent.get(namespace.inode) ?? []).map(node),
  })
  return (byParent.get(null) ?? []).map(node)
}

/** PID namespaces nested as they were made, across owners. */
export function pidNamespaceTree(namespaces: readonly Namespace[]): OwnedNode[] {
  return ownedNodes(namespaces.filter(each => each.type === 'pid'))
}

import type { NamespaceScan } from '../host/namespaces.ts'
import type { IdMapping } from '../linux/id-map.ts'
import {
  type Namespace,
  namespaceTree,
  type OwnedNode,
  pidNamespaceTree,
  type UserNamespaceNode,
} from '../linux/namespace-tree.ts'
import { type Column, formatTable, printable, type TableOptions } from './table.ts'

/** The ids of the containers in each namespace, by its inode. */
export type Containers = ReadonlyMap<number, readonly string[]>

/** How many members a line names before it only counts them. */
const NAMED_MEMBERS = 4
/** How much of a container's id is shown, as everywhere in container tools. */
const SHORT_ID_LENGTH = 12
const ALL_IDS = 0xffff_ffff

const COLUMNS: readonly Column[] = [
  { title: 'NAMESPACE', align: 'right' },
  { title: 'TYPE' },
  { title: 'PROCESSES', align: 'right' },
  { title: 'OWNER', align: 'right' },
  { title: 'PARENT', align: 'right' },
  { title: 'CONTAINER' },
  { title: 'ID MAP' },
  { title: 'MEMBERS' },
]

/** One line per namespace. Columns that would be empty are left out. */
export function namespaceTable(namespaces: readonly Namespace[], containers: Containers, layout: TableOptions): string {
  const rows = namespaces.map(namespace => [
    String(namespace.inode),
    namespace.type,
    String(namespace.members.length),
    inodeText(namespace.owner),
    inodeText(namespace.parent),
    containerText(containers.get(namespace.inode)),
    idMapText(namespace),
    membersText(namespace),
  ])
  const used = COLUMNS.map((_, index) => rows.some(row => row[index] !== ''))
  return formatTable(
    COLUMNS.filter((_, index) => used[index]),
    rows.map(row => row.filter((_, index) => used[index])),
    layout,
  )
}

/**
 * User namespaces as they are nested, each with what it owns; then PID namespaces as they are nested, which may cross
 * owners, unless none is in another.
 */
export function namespaceTreeText(namespaces: readonly Namespace[], containers: Containers): string {
  const tree = namespaceTree(namespaces)
  const lines: string[] = []
  for (const root of tree.roots) userLines(root, '', '', lines, containers)
  if (tree.ownerless.length > 0) lines.push('owner not known')
  tree.ownerless.forEach((node, index) => {
    ownedLines(node, '', index === tree.ownerless.length - 1, lines, containers)
  })
  const pids = pidNamespaceTree(namespaces)
  if (pids.some(node => node.nested.length > 0)) lines.push('')
  for (const node of pids) if (node.nested.length > 0) nestedLines(node, '', '', lines, containers)
  return lines.map(line => `${line}\n`).join('')
}

function userLines(
  node: UserNamespaceNode,
  lead: string,
  indent: string,
  lines: string[],
  containers: Containers,
): void {
  lines.push(`${lead}${describe(node.namespace, containers)}`)
  node.owned.forEach((owned, index) => {
    const last = index === node.owned.length - 1 && node.children.length === 0
    ownedLines(owned, indent, last, lines, containers)
  })
  node.children.forEach((child, index) => {
    const last = index === node.children.length - 1
    userLines(child, `${indent}${last ? '└─ ' : '├─ '}`, `${indent}${last ? '   ' : '│  '}`, lines, containers)
  })
}

function ownedLines(node: OwnedNode, indent: string, last: boolean, lines: string[], containers: Containers): void {
  nestedLines(node, `${indent}${last ? '└─ ' : '├─ '}`, `${indent}${last ? '   ' : '│  '}`, lines, containers)
}

function nestedLines(node: OwnedNode, lead: string, indent: string, lines: string[], containers: Containers): void {
  lines.push(`${lead}${describe(node.namespace, containers)}`)
  node.nested.forEach((nested, index) => {
    ownedLines(nested, indent, index === node.nested.length - 1, lines, containers)
  })
}

function describe(namespace: Namespace, containers: Containers): string {
  const parts = [
    `${namespace.type} ${namespace.inode}`,
    containerText(containers.get(namespace.inode)),
    namespace.ownerUid === null ? '' : `made by uid ${namespace.ownerUid}`,
    namespace.type === 'user' ? `ids ${idMapText(namespace)}` : '',
    printable(membersText(namespace)),
  ]
  return parts.filter(part => part !== '' && part !== 'ids ').join('  ')
}

function inodeText(inode: number | null): string {
  return inode === null ? '' : String(inode)
}

function containerText(ids: readonly string[] | undefined): string {
  return (ids ?? []).map(id => id.slice(0, SHORT_ID_LENGTH)).join(',')
}

/** `0=1400000+65536`: inside, outside, how many; uids and gids apart only when they differ. */
function idMapText(namespace: Namespace): string {
  if (namespace.idMaps === null) return ''
  const uid = mappingsText(namespace.idMaps.uid)
  const gid = mappingsText(namespace.idMaps.gid)
  return uid === gid ? uid : `uid ${uid} gid ${gid}`
}

function mappingsText(mappings: readonly IdMapping[]): string {
  if (mappings.length === 0) return 'none'
  return mappings
    .map(({ containerID, hostID, size }) =>
      containerID === 0 && hostID === 0 && size === ALL_IDS ? 'all' : `${containerID}=${hostID}+${size}`,
    )
    .join(',')
}

/** Who is in a namespace, or what keeps one in which nobody is. */
function membersText(namespace: Namespace): string {
  const named = namespace.members.slice(0, NAMED_MEMBERS).map(member => `${member.pid} ${member.comm}`)
  const more = namespace.members.length - named.length
  const members = more > 0 ? [...named, `${more} more`] : named
  const waiting = namespace.waitingMembers.map(member => `children of ${member.pid} ${member.comm}`)
  const mounts = namespace.mounts.map(path => `mounted at ${path}`)
  const fds = namespace.members.length > 0 ? [] : namespace.fds.map(({ pid, fd }) => `fd ${fd} of ${pid}`)
  const all = [...members, ...waiting, ...mounts, ...fds]
  return all.length === 0 ? 'kept by what is nested in it' : all.join(', ')
}

/** Everything, for programs; ids are numbers, unknown is null. */
export function namespaceJson(namespaces: readonly Namespace[], containers: Containers, scan: NamespaceScan): string {
  const document = {
    namespaces: namespaces.map(
      ({ type, inode, parent, owner, ownerUid, idMaps, members, waitingMembers, mounts, fds }) => ({
        type,
        inode,
        parent,
        owner,
        ownerUid,
        uidMappings: idMaps?.uid ?? null,
        gidMappings: idMaps?.gid ?? null,
        containers: containers.get(inode) ?? [],
        processes: members,
        willHaveChildrenOf: waitingMembers,
        mounts,
        fds,
      }),
    ),
    hidden: {
      processes: scan.hiddenProcessCount,
      holders: scan.hiddenHolderCount,
      families: scan.hiddenFamilyCount,
      familyError: scan.familyError,
    },
  }
  return `${JSON.stringify(document, null, 2)}\n`
}

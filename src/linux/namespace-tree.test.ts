import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import {
  groupNamespaces,
  type NamespaceRelation,
  type NamespaceSightings,
  namespaceTree,
  type OwnedNode,
  type ProcessSighting,
  pidNamespaceTree,
  type UserNamespaceNode,
} from './namespace-tree.ts'
import { NAMESPACES, type NamespaceType } from './namespaces.ts'

const NOTHING: NamespaceSightings = { processes: [], holders: [], relations: [], idMaps: new Map() }

function process(
  pid: number,
  ...namespaces: readonly (readonly [NamespaceType, number, 'for children'?])[]
): ProcessSighting {
  return {
    pid,
    comm: `p${pid}`,
    uid: 0,
    isKernelThread: false,
    namespaces: namespaces.map(([type, inode, forChildren]) => ({
      type,
      inode,
      forChildren: forChildren !== undefined,
    })),
  }
}

function relation(
  type: NamespaceType,
  inode: number,
  owner: number | null,
  parent: number | null = null,
): NamespaceRelation {
  return { type, inode, owner, parent, ownerUid: null }
}

describe('groupNamespaces()', () => {
  test('puts processes of a namespace together, programs before kernel threads', () => {
    const thread = { ...process(2, ['uts', 10]), isKernelThread: true }
    const [uts] = groupNamespaces({ ...NOTHING, processes: [thread, process(3, ['uts', 10]), process(4, ['uts', 10])] })
    expect(uts?.members.map(member => member.pid)).toEqual([3, 4, 2])
  })

  test('tells members from processes whose children only will be members', () => {
    const processes = [
      process(1, ['pid', 10], ['pid', 10, 'for children']),
      process(5, ['pid', 10], ['pid', 11, 'for children']),
    ]
    const [own, next] = groupNamespaces({ ...NOTHING, processes })
    expect(own).toMatchObject({ inode: 10, members: [{ pid: 1 }, { pid: 5 }], waitingMembers: [] })
    expect(next).toMatchObject({ inode: 11, members: [], waitingMembers: [{ pid: 5 }] })
  })

  test('shows namespaces that only a mount, an open file, or a descendant keeps', () => {
    const all = groupNamespaces({
      ...NOTHING,
      holders: [
        { kind: 'mount', type: 'network', inode: 20, path: '/run/netns/a', pid: 1 },
        { kind: 'mount', type: 'network', inode: 20, path: '/run/netns/a', pid: 9 },
        { kind: 'fd', type: 'mount', inode: 21, pid: 7, fd: 3 },
      ],
      relations: [relation('network', 20, 30), relation('pid', 22, 31, 23)],
    })
    expect(all.map(each => [each.type, each.inode])).toEqual([
      ['user', 30],
      ['user', 31],
      ['network', 20],
      ['pid', 22],
      ['pid', 23],
      ['mount', 21],
    ])
    expect(all[2]).toMatchObject({ mounts: ['/run/netns/a'], owner: 30 })
    expect(all[5]).toMatchObject({ fds: [{ pid: 7, fd: 3 }], owner: null })
  })

  test('does not believe a relation of another kind, whose inode number came again', () => {
    const all = groupNamespaces({
      ...NOTHING,
      processes: [process(1, ['uts', 10])],
      relations: [relation('ipc', 10, 1)],
    })
    expect(all).toMatchObject([{ type: 'uts', inode: 10, owner: null }])
  })
})

describe('namespaceTree()', () => {
  test('nests user namespaces, gives each what it owns, and nests PID namespaces of one owner', () => {
    const relations = [
      relation('user', 1, null),
      relation('user', 2, 1, 1),
      relation('user', 3, 2, 2),
      relation('network', 11, 1),
      relation('pid', 12, 1),
      relation('pid', 13, 1, 12),
      relation('pid', 14, 2, 13),
    ]
    const all = groupNamespaces({ ...NOTHING, relations })
    const inner = (node: OwnedNode): unknown => [node.namespace.inode, ...node.nested.map(inner)]
    const outer = (node: UserNamespaceNode): unknown => [
      node.namespace.inode,
      node.owned.map(inner),
      node.children.map(outer),
    ]
    const tree = namespaceTree(all)
    expect(tree.roots.map(outer)).toEqual([[1, [[11], [12, [13]]], [[2, [[14]], [[3, [], []]]]]]])
    expect(pidNamespaceTree(all).map(inner)).toEqual([[12, [13, [14]]]])
    expect(tree.ownerless).toEqual([])
  })

  test('shows every namespace exactly once, whatever is known of owners and parents', () => {
    // Parents and owners have smaller numbers, as a namespace can't be in itself.
    const relations = fc.array(
      fc.record({
        type: fc.constantFrom(...NAMESPACES.map(kind => kind.type)),
        owner: fc.option(fc.nat(30)),
        parent: fc.option(fc.nat(30)),
      }),
      { maxLength: 30 },
    )
    fc.assert(
      fc.property(relations, list => {
        const users = list.flatMap((each, index) => (each.type === 'user' ? [index] : []))
        const below = (index: number, wanted: number | null) => (wanted !== null && wanted < index ? wanted : null)
        const all = groupNamespaces({
          ...NOTHING,
          relations: list.map((each, inode) => {
            const owner = below(inode, each.owner)
            const sameKind = below(inode, each.parent)
            return {
              type: each.type,
              inode,
              ownerUid: null,
              owner: owner !== null && users.includes(owner) ? owner : null,
              parent: sameKind !== null && list[sameKind]?.type === each.type ? sameKind : null,
            }
          }),
        })
        const owned = (node: OwnedNode): number[] => [node.namespace.inode, ...node.nested.flatMap(owned)]
        const user = (node: UserNamespaceNode): number[] => [
          node.namespace.inode,
          ...node.owned.flatMap(owned),
          ...node.children.flatMap(user),
        ]
        const tree = namespaceTree(all)
        const shown = [...tree.roots.flatMap(user), ...tree.ownerless.flatMap(owned)]
        expect(shown.toSorted((a, b) => a - b)).toEqual(all.map(each => each.inode).toSorted((a, b) => a - b))
      }),
    )
  })
})

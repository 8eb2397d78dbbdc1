/**
 * Mount options as config.json writes them → what the two mount APIs want.
 * Source: runtime-spec › Linux mount options, mount(8), mount(2), mount_setattr(2).
 */

import * as flags from './mount-flags.ts'

/** A list of options taken apart by where each goes; later options override earlier ones, as in mount(8). */
export interface MountOptions {
  /** `bind` or `rbind` was given. */
  readonly bind: boolean
  readonly recursiveBind: boolean
  readonly remount: boolean
  /** MOUNT_ATTR_* of this mount. Where an access time was named, `attrClear` holds all of MOUNT_ATTR__ATIME, as mount_setattr(2) demands. */
  readonly attrSet: number
  readonly attrClear: number
  /** The same for the whole tree (`rro`, `rnosuid`, …): mount_setattr(AT_RECURSIVE). */
  readonly recursiveAttrSet: number
  readonly recursiveAttrClear: number
  /** MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, maybe with MS_REC, in the order given: a slave can become shared too. */
  readonly propagation: readonly number[]
  /** `ridmap`: the id mapping covers the mounts below too. */
  readonly idmap: 'idmap' | 'ridmap' | null
  /** Copy what the image has at the destination into the new tmpfs. */
  readonly tmpcopyup: boolean
  /** MS_* flags of the filesystem rather than of the mount, for mount(2). */
  readonly superblockFlags: number
  /** The same for fsconfig(2): names for FSCONFIG_SET_FLAG. MS_SILENT and MS_I_VERSION have none; see NEEDS_OLD_API. */
  readonly superblockOptions: readonly string[]
  /** Everything else belongs to the filesystem: `size=64m`, `mode=755`. */
  readonly data: readonly string[]
}

/** Superblock flags that only mount(2) can set. MS_SILENT is none: fsopen(2) keeps messages from the kernel's log anyway. */
export const NEEDS_OLD_API: number = flags.MS_I_VERSION

type Action = (state: State) => void

interface State {
  bind: boolean
  recursiveBind: boolean
  remount: boolean
  own: Attributes
  recursive: Attributes
  propagation: number[]
  idmap: 'idmap' | 'ridmap' | null
  tmpcopyup: boolean
  superblock: Map<number, string>
  superblockFlags: number
}

interface Attributes {
  set: number
  clear: number
}

type Scope = 'own' | 'recursive'

/** Switches attributes on or off; the later option of a pair wins. */
function attr(scope: Scope, bit: number, on: boolean): Action {
  return state => {
    const attributes = state[scope]
    attributes.set = on ? attributes.set | bit : attributes.set & ~bit
    attributes.clear = on ? attributes.clear & ~bit : attributes.clear | bit
  }
}

/** Access time is one field with three values, so a new value replaces the old one. */
function accessTime(scope: Scope, value: number): Action {
  return state => {
    const attributes = state[scope]
    attributes.set = (attributes.set & ~flags.MOUNT_ATTR__ATIME) | value
    attributes.clear |= flags.MOUNT_ATTR__ATIME
  }
}

/** `atime`, `norelatime`, `nostrictatime` undo their opposite and leave another value alone. What remains is relatime. */
function notAccessTime(scope: Scope, value: number): Action {
  return state => {
    const attributes = state[scope]
    if ((attributes.set & flags.MOUNT_ATTR__ATIME) === value) attributes.set &= ~flags.MOUNT_ATTR__ATIME
    attributes.clear |= flags.MOUNT_ATTR__ATIME
  }
}

function superblock(bit: number, option: string | null, on: boolean): Action {
  return state => {
    state.superblockFlags = on ? state.superblockFlags | bit : state.superblockFlags & ~bit
    if (option !== null) state.superblock.set(bit, option)
  }
}

function assign(patch: Partial<State>): Action {
  return state => {
    Object.assign(state, patch)
  }
}

function propagate(type: number): Action {
  return state => {
    state.propagation.push(type)
  }
}

function attributeActions(scope: Scope, prefix: string): readonly (readonly [string, Action])[] {
  const named = (name: string, action: Action) => [`${prefix}${name}`, action] as const
  return [
    named('ro', attr(scope, flags.MOUNT_ATTR_RDONLY, true)),
    named('rw', attr(scope, flags.MOUNT_ATTR_RDONLY, false)),
    named('nosuid', attr(scope, flags.MOUNT_ATTR_NOSUID, true)),
    named('suid', attr(scope, flags.MOUNT_ATTR_NOSUID, false)),
    named('nodev', attr(scope, flags.MOUNT_ATTR_NODEV, true)),
    named('dev', attr(scope, flags.MOUNT_ATTR_NODEV, false)),
    named('noexec', attr(scope, flags.MOUNT_ATTR_NOEXEC, true)),
    named('exec', attr(scope, flags.MOUNT_ATTR_NOEXEC, false)),
    named('nodiratime', attr(scope, flags.MOUNT_ATTR_NODIRATIME, true)),
    named('diratime', attr(scope, flags.MOUNT_ATTR_NODIRATIME, false)),
    named('nosymfollow', attr(scope, flags.MOUNT_ATTR_NOSYMFOLLOW, true)),
    named('symfollow', attr(scope, flags.MOUNT_ATTR_NOSYMFOLLOW, false)),
    named('relatime', accessTime(scope, flags.MOUNT_ATTR_RELATIME)),
    named('norelatime', notAccessTime(scope, flags.MOUNT_ATTR_RELATIME)),
    named('noatime', accessTime(scope, flags.MOUNT_ATTR_NOATIME)),
    named('atime', notAccessTime(scope, flags.MOUNT_ATTR_NOATIME)),
    named('strictatime', accessTime(scope, flags.MOUNT_ATTR_STRICTATIME)),
    named('nostrictatime', notAccessTime(scope, flags.MOUNT_ATTR_STRICTATIME)),
  ]
}

const ACTIONS: ReadonlyMap<string, Action> = new Map([
  ...attributeActions('own', ''),
  ...attributeActions('recursive', 'r'),
  ['defaults', () => {}],
  ['bind', assign({ bind: true })],
  ['rbind', assign({ bind: true, recursiveBind: true })],
  ['remount', assign({ remount: true })],
  ['idmap', assign({ idmap: 'idmap' })],
  ['ridmap', assign({ idmap: 'ridmap' })],
  ['tmpcopyup', assign({ tmpcopyup: true })],
  ['sync', superblock(flags.MS_SYNCHRONOUS, 'sync', true)],
  ['async', superblock(flags.MS_SYNCHRONOUS, 'async', false)],
  ['dirsync', superblock(flags.MS_DIRSYNC, 'dirsync', true)],
  ['lazytime', superblock(flags.MS_LAZYTIME, 'lazytime', true)],
  ['nolazytime', superblock(flags.MS_LAZYTIME, 'nolazytime', false)],
  ['mand', superblock(flags.MS_MANDLOCK, 'mand', true)],
  ['nomand', superblock(flags.MS_MANDLOCK, 'nomand', false)],
  ['silent', superblock(flags.MS_SILENT, null, true)],
  ['loud', superblock(flags.MS_SILENT, null, false)],
  ['iversion', superblock(flags.MS_I_VERSION, null, true)],
  ['noiversion', superblock(flags.MS_I_VERSION, null, false)],
  ['private', propagate(flags.MS_PRIVATE)],
  ['rprivate', propagate(flags.MS_PRIVATE | flags.MS_REC)],
  ['shared', propagate(flags.MS_SHARED)],
  ['rshared', propagate(flags.MS_SHARED | flags.MS_REC)],
  ['slave', propagate(flags.MS_SLAVE)],
  ['rslave', propagate(flags.MS_SLAVE | flags.MS_REC)],
  ['unbindable', propagate(flags.MS_UNBINDABLE)],
  ['runbindable', propagate(flags.MS_UNBINDABLE | flags.MS_REC)],
] as [string, Action][])

/** Every option name with a meaning of its own, sorted; what `features` reports. */
export function knownMountOptions(): readonly string[] {
  return [...ACTIONS.keys()].sort()
}

/** Reads the options of one mount, left to right. Never fails: an unknown name is an option of the filesystem. */
export function parseMountOptions(options: readonly string[]): MountOptions {
  const state: State = {
    bind: false,
    recursiveBind: false,
    remount: false,
    own: { set: 0, clear: 0 },
    recursive: { set: 0, clear: 0 },
    propagation: [],
    idmap: null,
    tmpcopyup: false,
    superblock: new Map(),
    superblockFlags: 0,
  }
  const data: string[] = []
  for (const option of options) {
    const action = ACTIONS.get(option)
    if (action === undefined) data.push(option)
    else action(state)
  }
  return {
    bind: state.bind,
    recursiveBind: state.recursiveBind,
    remount: state.remount,
    attrSet: state.own.set,
    attrClear: state.own.clear,
    recursiveAttrSet: state.recursive.set,
    recursiveAttrClear: state.recursive.clear,
    propagation: state.propagation,
    idmap: state.idmap,
    tmpcopyup: state.tmpcopyup,
    superblockFlags: state.superblockFlags,
    superblockOptions: [...state.superblock.values()],
    data,
  }
}

/** The propagation type of `linux.rootfsPropagation` (`slave`, `rshared`, …) as MS_* flags; undefined when there is none. */
export function parsePropagation(name: string): number | undefined {
  const type = PROPAGATIONS.get(name.replace(/^r/, ''))
  if (type === undefined) return undefined
  return name.startsWith('r') ? type | flags.MS_REC : type
}

const PROPAGATIONS: ReadonlyMap<string, number> = new Map([
  ['private', flags.MS_PRIVATE],
  ['shared', flags.MS_SHARED],
  ['slave', flags.MS_SLAVE],
  ['unbindable', flags.MS_UNBINDABLE],
])

const ATTR_TO_MS: readonly (readonly [attr: number, ms: number])[] = [
  [flags.MOUNT_ATTR_RDONLY, flags.MS_RDONLY],
  [flags.MOUNT_ATTR_NOSUID, flags.MS_NOSUID],
  [flags.MOUNT_ATTR_NODEV, flags.MS_NODEV],
  [flags.MOUNT_ATTR_NOEXEC, flags.MS_NOEXEC],
  [flags.MOUNT_ATTR_NOATIME, flags.MS_NOATIME],
  [flags.MOUNT_ATTR_STRICTATIME, flags.MS_STRICTATIME],
  [flags.MOUNT_ATTR_NODIRATIME, flags.MS_NODIRATIME],
  [flags.MOUNT_ATTR_NOSYMFOLLOW, flags.MS_NOSYMFOLLOW],
]

/** The flags of mount(2) for these options, without propagation, which is a call of its own. */
export function mountFlagsOf(options: MountOptions): number {
  let result = options.superblockFlags
  for (const [attribute, ms] of ATTR_TO_MS) if ((options.attrSet & attribute) !== 0) result |= ms
  const atimeNamed = (options.attrClear & flags.MOUNT_ATTR__ATIME) !== 0
  if (atimeNamed && (options.attrSet & flags.MOUNT_ATTR__ATIME) === 0) result |= flags.MS_RELATIME
  if (options.bind) result |= flags.MS_BIND
  if (options.recursiveBind) result |= flags.MS_REC
  if (options.remount) result |= flags.MS_REMOUNT
  return result
}

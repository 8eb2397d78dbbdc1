import { errnoName } from '../lib/errno-name.ts'
import { CAPABILITIES } from '../linux/capabilities.ts'
import * as cloneFlags from '../linux/clone-flags.ts'
import { fsMagicName } from '../linux/fs-magic.ts'
import * as mountFlags from '../linux/mount-flags.ts'
import * as namespaces from '../linux/namespaces.ts'
import * as openFlags from '../linux/open-flags.ts'
import * as prctl from '../linux/prctl.ts'
import { rlimitName } from '../linux/rlimits.ts'
import { signalName } from '../linux/signals.ts'
import { argsOf } from './encode.ts'
import type { ArgKind } from './ops.ts'
import type { Slot } from './slots.ts'
import { type Join, type Plan, STAGES, type Step } from './step.ts'

const TEXT_LIMIT = 160
const UNLIMITED = 0xffff_ffff_ffff_ffffn

/**
 * One step as strace would print it: `mount_fs("proc", "proc", [], MOUNT_ATTR_NOSUID) = @proc`.
 * Fds are shown by the name of their slot.
 */
export function printStep(step: Step): string {
  const parts: string[] = []
  const results: string[] = []
  const args = argsOf(step)
  args.forEach(([kind, value], index) => {
    if (kind === 'out') {
      if (value !== null) results.push(printSlot(value))
    } else parts.push(kind === 'fd' && value === null ? printNoFd(args[index + 1]) : PRINTERS[kind](value))
  })
  return `${step.op}(${parts.join(', ')})${results.length === 0 ? '' : ` = ${results.join(', ')}`}`
}

/** The whole plan, stage by stage, each step with its reason. */
export function printPlan(plan: Plan): string {
  const lines: string[] = []
  for (const stage of STAGES) {
    if (plan[stage].length === 0) continue
    lines.push(`--- ${stage} ---`)
    plan[stage].forEach((step, index) => {
      lines.push(`${String(index).padStart(3)}  ${printStep(step)}${flow(step)}  # ${step.why}`)
    })
  }
  return `${lines.join('\n')}\n`
}

function flow(step: Step): string {
  const tolerated =
    step.tolerate === undefined ? '' : step.tolerate === 'all' ? 'any error' : step.tolerate.map(errnoName).join('|')
  const otherwise = step.skipOnFailure === undefined ? '' : ` skip ${step.skipOnFailure}`
  const onError = tolerated === '' ? '' : ` [${tolerated}:${otherwise === '' ? ' go on' : otherwise}]`
  return `${onError}${step.skipOnSuccess === undefined ? '' : ` [ok: skip ${step.skipOnSuccess}]`}`
}

type Printer = (value: unknown) => string

const PRINTERS: Readonly<Record<ArgKind, Printer>> = {
  int: String,
  octal: value => (Number(value) === 0 ? '0' : `0${Number(value).toString(8)}`),
  hex: value => (Number(value) === 0 ? '0' : `0x${BigInt.asUintN(64, BigInt(value as number)).toString(16)}`),
  pid: value => (Number(value) === 0 ? 'self' : Number(value) === -1 ? 'child' : String(value)),
  signal: value => signalName(Number(value)),
  openFlags: value => printOpenFlags(Number(value)),
  resolveFlags: flagPrinter(openFlags, 'RESOLVE_'),
  openTreeFlags: flagPrinter(
    {
      ...mountFlags,
      AT_RECURSIVE: openFlags.AT_RECURSIVE,
      AT_EMPTY_PATH: openFlags.AT_EMPTY_PATH,
      AT_SYMLINK_NOFOLLOW: openFlags.AT_SYMLINK_NOFOLLOW,
    },
    'OPEN_TREE_',
    'AT_',
  ),
  attrFlags: flagPrinter(mountFlags, 'MOUNT_ATTR_'),
  moveMountFlags: flagPrinter(mountFlags, 'MOVE_MOUNT_'),
  atFlags: flagPrinter(openFlags, 'AT_REMOVEDIR', 'AT_SYMLINK_NOFOLLOW', 'AT_EMPTY_PATH', 'AT_RECURSIVE'),
  propagation: flagPrinter(mountFlags, 'MS_'),
  mountFlags: flagPrinter(mountFlags, 'MS_'),
  umountFlags: flagPrinter(mountFlags, 'MNT_', 'UMOUNT_'),
  cloneFlags: flagPrinter({ ...namespaces, ...cloneFlags }, 'CLONE_'),
  capMask: value => printCapabilities(BigInt.asUintN(64, BigInt(value as number | bigint))),
  rlimit: value => rlimitName(Number(value)) ?? String(value),
  limit: value =>
    BigInt.asUintN(64, BigInt(value as number | bigint)) === UNLIMITED ? 'RLIM_INFINITY' : String(value),
  fsMagic: value => fsMagicName(Number(value)),
  fileType: flagPrinter(openFlags, 'S_IF'),
  prctlOption: value => nameOf(prctl, 'PR_', Number(value)),
  seccompFlags: value => `0x${Number(value).toString(16)}`,
  text: value => quote(value as string),
  path: value => quote(value as string),
  bytes: value => (typeof value === 'string' ? quote(value) : `<${(value as Uint8Array).length} bytes>`),
  bpf: value => `<${(value as Uint8Array).length / 8} instructions>`,
  ids: value => `[${(value as readonly number[]).join(' ')}]`,
  slots: value => `[${(value as readonly Slot[]).map(printSlot).join(' ')}]`,
  joins: value => `[${(value as readonly Join[]).map(join => printSlot(join.slot)).join(' ')}]`,
  texts: value => `[${clip((value as readonly string[]).map(quote).join(', '))}]`,
  fd: printSlot,
  out: printSlot,
}

/** Before a path, no fd is the directory to start at; anywhere else there is none. */
function printNoFd(next: ReturnType<typeof argsOf>[number] | undefined): string {
  return next?.[0] === 'path' && next[1] !== '' ? 'AT_FDCWD' : 'none'
}

function printSlot(value: unknown): string {
  return `@${(value as Slot).name}`
}

function quote(text: string): string {
  return clip(JSON.stringify(text))
}

function clip(text: string): string {
  return text.length <= TEXT_LIMIT ? text : `${text.slice(0, TEXT_LIMIT)}…`
}

function printOpenFlags(flags: number): string {
  const access = ['O_RDONLY', 'O_WRONLY', 'O_RDWR'][flags & openFlags.O_ACCMODE] ?? 'O_ACCMODE'
  const rest = flags & ~openFlags.O_ACCMODE
  if (rest === 0) return access
  const others = flagText(openFlags, ['O_'], rest)
  return (flags & openFlags.O_PATH) !== 0 ? others : `${access}|${others}`
}

function printCapabilities(mask: bigint): string {
  const held = CAPABILITIES.filter((_, number) => (mask >> BigInt(number)) & 1n)
  if (held.length === 0) return '0'
  if (held.length === CAPABILITIES.length) return 'all capabilities'
  const missing = CAPABILITIES.filter(name => !held.includes(name))
  return held.length <= 20 ? held.join('|') : `all but ${missing.join('|')}`
}

function flagPrinter(table: Readonly<Record<string, unknown>>, ...prefixes: string[]): Printer {
  return value => flagText(table, prefixes, Number(value))
}

/** Spells a set of flags, the widest first so that a combination prints by its own name. */
function flagText(table: Readonly<Record<string, unknown>>, prefixes: readonly string[], flags: number): string {
  let rest = flags >>> 0
  const names: string[] = []
  const known = Object.entries(table)
    .filter((entry): entry is [string, number] => typeof entry[1] === 'number' && entry[1] > 0)
    .filter(([name]) => prefixes.some(prefix => name.startsWith(prefix)))
    .sort((a, b) => b[1] - a[1])
  for (const [name, bits] of known) {
    if (bits <= 0xffff_ffff && (rest & bits) >>> 0 === bits) {
      names.push(name)
      rest = (rest & ~bits) >>> 0
    }
  }
  if (rest !== 0 || names.length === 0) names.push(rest === 0 ? '0' : `0x${rest.toString(16)}`)
  return names.reverse().join('|')
}

function nameOf(table: Readonly<Record<string, unknown>>, prefix: string, value: number): string {
  return (
    Object.entries(table).find(([name, number]) => name.startsWith(prefix) && number === value)?.[0] ?? String(value)
  )
}

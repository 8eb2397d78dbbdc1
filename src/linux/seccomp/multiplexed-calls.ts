/**
 * i386's two multiplexers. `socketcall(SYS_BIND, args)` is bind, `ipc(SHMAT, …)` is shmat: a 32-bit program (glibc's
 * i386 build to this day) makes these calls in that way only, so a rule about `bind` has to speak about both.
 * The real arguments lie behind a pointer, out of a filter's reach.
 * Source: socketcall(2), ipc(2); include/uapi/linux/net.h and ipc.h; libseccomp src/syscalls.c, abi_rule_add.
 */
import { isPermissive } from './actions.ts'
import type { Rule } from './rules.ts'

/** A call that is also made through a multiplexer. */
export interface MultiplexedCall {
  readonly name: string
  readonly through: 'socketcall' | 'ipc'
  /** Its number in the multiplexer's first argument. */
  readonly call: number
}

const SOCKETCALLS = [
  'socket',
  'bind',
  'connect',
  'listen',
  'accept',
  'getsockname',
  'getpeername',
  'socketpair',
  'send',
  'recv',
  'sendto',
  'recvfrom',
  'shutdown',
  'setsockopt',
  'getsockopt',
  'sendmsg',
  'recvmsg',
  'accept4',
  'recvmmsg',
  'sendmmsg',
] as const

const IPC_CALLS: readonly (readonly [string, number])[] = [
  ['semop', 1],
  ['semget', 2],
  ['semctl', 3],
  ['semtimedop', 4],
  ['msgsnd', 11],
  ['msgrcv', 12],
  ['msgget', 13],
  ['msgctl', 14],
  ['shmat', 21],
  ['shmdt', 22],
  ['shmget', 23],
  ['shmctl', 24],
]

/** Every call that a multiplexer also makes. */
export const MULTIPLEXED_CALLS: readonly MultiplexedCall[] = [
  ...SOCKETCALLS.map((name, index) => ({ name, through: 'socketcall', call: index + 1 }) as const),
  ...IPC_CALLS.map(([name, call]) => ({ name, through: 'ipc', call }) as const),
]

/**
 * The rules of a multiplexer that follow from those of one of its calls.
 * Comparisons can't be carried over. libseccomp forgets them, which lets everything through where a rule allows some
 * (`socket` for some families); here such a permission is not carried over at all, and a restriction becomes one of
 * the whole call, as in libseccomp.
 */
export function multiplexedRules(rules: readonly Rule[], call: number): readonly Rule[] {
  const word = 0xffffffff
  const condition = { index: 0, op: 'SCMP_CMP_EQ', high: 0, low: call, maskHigh: word, maskLow: word } as const
  return rules
    .filter(rule => rule.conditions.length === 0 || !isPermissive(rule.action))
    .map(rule => ({ action: rule.action, conditions: [condition] }))
}

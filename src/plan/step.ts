import type { ArgKind, OPS, OpName, WIRE } from './ops.ts'
import type { Slot } from './slots.ts'

/** A namespace to join before the child is made: the slot of its file and its CLONE_NEW* flag. */
export interface Join {
  readonly slot: Slot
  readonly type: number
}

interface SpecialArgs {
  ids: readonly number[]
  slots: readonly Slot[]
  joins: readonly Join[]
}

/** Values by wire form; an fd may be null: AT_FDCWD for a directory, "none" elsewhere. */
interface WireArgs {
  i: number | bigint
  s: string
  b: Uint8Array | string
  l: readonly string[]
  f: Slot | null
  o: Slot | null
}

type ArgType<K extends ArgKind> = K extends keyof SpecialArgs ? SpecialArgs[K] : WireArgs[(typeof WIRE)[K]]

/** The arguments of an operation, by name. */
export type ArgsOf<K extends OpName> = {
  readonly [A in keyof (typeof OPS)[K]['args']]: (typeof OPS)[K]['args'][A] extends ArgKind
    ? ArgType<(typeof OPS)[K]['args'][A]>
    : never
}

/** Everything a step says besides its operation. */
export interface StepOptions {
  /** Why the step is there, for `explain`: a short clause without a period. */
  readonly why: string
  /** Errnos after which the plan goes on; 'all' for any. */
  readonly tolerate?: readonly number[] | 'all'
  /** How many of the next steps to skip after a tolerated failure. */
  readonly skipOnFailure?: number
  /** How many of the next steps to skip after success. */
  readonly skipOnSuccess?: number
  /** Report a tolerated failure as a warning. */
  readonly warn?: boolean
}

/** One system call (or one small composed operation) of a plan, as data. */
export interface StepOf<K extends OpName> extends StepOptions {
  readonly op: K
  readonly args: ArgsOf<K>
}

export type Step = { [K in OpName]: StepOf<K> }[OpName]

/** Where in the life of a container a step runs; see docs/plan-protocol.md. */
export const STAGES = ['host', 'parent', 'child', 'exec', 'undo'] as const
export type Stage = (typeof STAGES)[number]

/** An ordered list of steps per stage: what berth-init executes. */
export interface Plan extends Readonly<Record<Stage, readonly Step[]>> {
  readonly slotCount: number
}

/** Makes a step. `options` may be just the reason. */
export function step<K extends OpName>(op: K, args: ArgsOf<K>, options: StepOptions | string): StepOf<K> {
  const rest = typeof options === 'string' ? { why: options } : options
  return { op, args, ...rest }
}

/** A plan with only host steps: a batch for the helper. */
export function hostPlan(host: readonly Step[], slotCount: number): Plan {
  return { host, parent: [], child: [], exec: [], undo: [], slotCount }
}

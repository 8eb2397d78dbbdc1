import type { GivenRoots } from '../engine/data-root.ts'

/** A command: its arguments in, its exit status out. Commands are loaded when they are called, so that none pays for another. */
export type Command = (args: readonly string[], roots: GivenRoots) => Promise<number>

/** One command of the table. */
export interface CommandEntry {
  readonly help: string
  readonly load: () => Promise<Command>
  /** It works on the machine, not on the engine's containers: there is nothing that the engine's roots could change. */
  readonly withoutRoots?: true
}

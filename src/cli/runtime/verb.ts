import { readSync } from 'node:fs'
import type { RuntimeOptions } from '../../runtime/runtime-options.ts'
import { type Grammar, type ParsedOptions, UsageError } from '../options.ts'
import type { Log } from './log.ts'

/** What a command of the runtime is given. */
export interface RuntimeCall {
  readonly options: RuntimeOptions
  readonly log: Log
  /** The connection to the launcher that has started this program; null: nobody has. */
  readonly launcherFd: number | null
  /** This program and its arguments up to the command. */
  readonly command: readonly string[]
  /** The command's own options and operands. */
  readonly parsed: ParsedOptions
}

/** One command of the runtime, in a file of its own. */
export interface RuntimeVerb {
  readonly grammar: Grammar
  run(call: RuntimeCall): Promise<number>
}

/** The one container id that a command expects as its first operand. */
export function idOperand({ parsed }: RuntimeCall, grammar: Grammar): string {
  const [id] = parsed.operands
  if (id === undefined) throw new UsageError(grammar, 'Cannot run the command: it needs a container id')
  return id
}

/** All of standard input, as text. */
export function readStdin(): string {
  const chunks: Buffer[] = []
  const buffer = Buffer.alloc(64 * 1024)
  for (let count = readSync(0, buffer); count > 0; count = readSync(0, buffer))
    chunks.push(Buffer.from(buffer.subarray(0, count)))
  return Buffer.concat(chunks).toString()
}

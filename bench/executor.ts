import { join } from 'node:path'
import { runProgram } from './run-program.ts'

/** What the executor and the bare program took, in microseconds, run in turns. */
export interface ExecutorTimes {
  readonly bare: readonly number[]
  readonly executor: readonly number[]
}

/** How often each system call was made, by name. */
export type CallCounts = ReadonlyMap<string, number>

/** Compiles bench/bare.c and bench/turns.c into `directory`, which has a `rootfs`, and puts plan and filter beside it. */
export function prepareExecutor(directory: string): void {
  for (const name of ['bare', 'turns'])
    runProgram(['cc', '-O2', '-static', '-o', join(directory, name), join(import.meta.dir, `${name}.c`)])
  runProgram([process.execPath, join(import.meta.dir, 'executor-plan.ts'), directory])
}

/** Runs both in turns, in a directory that was prepared. */
export function compareExecutor(init: string, directory: string, rounds: number): ExecutorTimes {
  const turns = [join(directory, 'turns'), String(rounds), join(directory, 'bare'), init, directory]
  return JSON.parse(runProgram(turns)) as ExecutorTimes
}

/** The system calls of both, counted by strace; null without strace. The program that they execute is not counted apart. */
export function countCalls(
  init: string,
  directory: string,
): { readonly bare: CallCounts; readonly executor: CallCounts } | null {
  if (Bun.which('strace') === null) return null
  const counted = (command: string): CallCounts => {
    const file = join(directory, 'strace')
    runProgram(['strace', '-f', '-qq', '-c', '-o', file, 'sh', '-c', `${command} 3</dev/null 4<&3 5<&3`])
    const table = runProgram(['cat', file])
    const rows = table.split('\n').map(line => line.trim().split(/\s+/))
    return new Map(
      rows.flatMap(row =>
        /^\d/.test(row[0] ?? '') && row.at(-1) !== 'total' ? [[row.at(-1) ?? '', Number(row[3])]] : [],
      ),
    )
  }
  return {
    bare: counted(`exec ${directory}/bare ${directory}`),
    executor: counted(`exec ${init} plan <${directory}/frame >/dev/null`),
  }
}

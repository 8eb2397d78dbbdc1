import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runProgram } from './run-program.ts'

/** What no program that Bun compiles can be quicker than. */
export const EMPTY_PROGRAM = 'an empty program compiled by Bun'

/** Compiles a program that does nothing, as `tools/build` compiles berth, into `directory`; returns its path. */
export function compileEmpty(directory: string): string {
  const source = join(directory, 'empty.ts')
  const program = join(directory, 'empty')
  writeFileSync(source, 'process.exit(0)\n')
  const flags = ['--compile', '--minify', '--bytecode', '--format=esm', '--no-compile-autoload-dotenv']
  runProgram([process.execPath, 'build', ...flags, '--no-compile-autoload-bunfig', source, '--outfile', program])
  return program
}

/** How many microseconds the first touch of a page takes here. */
export function pageFaultMicroseconds(directory: string): number {
  const program = join(directory, 'page-fault')
  runProgram(['cc', '-O1', '-o', program, join(import.meta.dir, 'page-fault.c')])
  return Number(runProgram([program]))
}

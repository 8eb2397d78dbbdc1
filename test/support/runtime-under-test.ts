/** Which OCI runtime a suite drives: Berth's, or another one to see whether it or the test is at fault. */

import { join } from 'node:path'

/** A runtime with runc's command line. */
export interface RuntimeUnderTest {
  readonly name: string
  /** What stands before the global options. */
  readonly command: readonly string[]
}

const MAIN = join(import.meta.dir, '../../src/cli/main.ts')

/** Berth's own runtime, from source. */
const BERTH: RuntimeUnderTest = { name: 'berth', command: [process.execPath, MAIN, 'runtime'] }

/**
 * The runtime that `BERTH_TEST_RUNTIME` names (a program with runc's command line: `runc`, `crun`, `/usr/bin/runc`), else Berth's. A suite
 * that takes it from here speaks only the OCI interface, so that a red test accuses the right party.
 */
export const RUNTIME_UNDER_TEST: RuntimeUnderTest = chosen(process.env['BERTH_TEST_RUNTIME'] ?? '')

/** The command line of the engine, from source. */
export const BERTH_COMMAND: readonly string[] = [process.execPath, MAIN]

function chosen(program: string): RuntimeUnderTest {
  return program === '' || program === 'berth' ? BERTH : { name: program, command: [program] }
}

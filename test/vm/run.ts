/**
 * Runs each suite of this folder in a throw-away virtual machine: pure cgroup v2, kernel 6.1, AppArmor, all capabilities.
 *
 * The machine is made by a program `vm-run`, which is no part of Berth; where it is missing the suites run here, and
 * each of their tests skips itself, because it is written with `testIf('vm')`. The options a suite's machine needs
 * stand in its first line: `// vm-run: --systemd`.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { addResults, EMPTY_RESULT, type GroupResult, ROOT, runTests } from '../support/group.ts'

// An emulated processor is 2–8 times as slow.
const TEST_LIMIT_SECONDS = 120
const SUITE_LIMIT_SECONDS = 400
// The first run of all builds the machine's image, which takes minutes.
const IMAGE_LIMIT_SECONDS = 600

/** Runs all suites, one machine for each. */
export async function runVmSuites(): Promise<GroupResult> {
  const suites = readdirSync(import.meta.dir).filter(file => file.endsWith('.test.ts'))
  const vmRun = findVmRun()
  if (vmRun === undefined) return runSuites(suites)
  let total = EMPTY_RESULT
  for (const suite of suites) total = addResults(total, await runSuites([suite], vmRun))
  return total
}

function runSuites(suites: readonly string[], vmRun?: string): Promise<GroupResult> {
  const paths = suites.map(suite => `./test/vm/${suite}`)
  if (vmRun === undefined) return runTests({ paths, limitSeconds: 60, testLimitSeconds: 5 })
  return runTests({
    paths,
    limitSeconds: IMAGE_LIMIT_SECONDS + SUITE_LIMIT_SECONDS,
    testLimitSeconds: TEST_LIMIT_SECONDS,
    wrap: (command, reportDir) => [
      ...[vmRun, '--share', ROOT, '--share-rw', reportDir, '--timeout', `${SUITE_LIMIT_SECONDS}`],
      ...suites.flatMap(machineOptions),
      ...['--', 'env', 'BERTH_TEST_VM=1', ...command],
    ],
  })
}

function machineOptions(suite: string): string[] {
  const text = readFileSync(join(import.meta.dir, suite), 'utf8')
  const [, options] = /^\/\/ vm-run: (.+)\n/.exec(text) ?? []
  return options?.split(' ') ?? []
}

function findVmRun(): string | undefined {
  const path = process.env['BERTH_VM_RUN'] ?? join(ROOT, '../shared/tools/vm-run')
  return existsSync(path) ? path : undefined
}

/** The gate: runs the groups of tests one after another and prints the total. Started by `test/run`. */

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { runVmSuites } from '../vm/run.ts'
import { addResults, EMPTY_RESULT, type GroupResult, ROOT, runCommand, runTests } from './group.ts'

interface Group {
  readonly name: string
  readonly what: string
  readonly run: () => Promise<GroupResult>
}

const CHECK: readonly Group[] = [
  {
    name: 'lint',
    what: 'format and lint (biome)',
    run: () => runCommand(['node_modules/.bin/biome', 'ci', '--error-on-warnings'], 120),
  },
  { name: 'types', what: 'types (tsc)', run: () => runCommand(['node_modules/.bin/tsc', '-p', '.'], 120) },
  {
    name: 'structure',
    what: 'structure: layers, cycles, sizes, names, tables',
    run: () => runFolder('structure', 120),
  },
  {
    name: 'unit',
    what: 'unit: src, and the support of the tests',
    run: () => runTests({ paths: ['./src/', './test/support/'], limitSeconds: 300, testLimitSeconds: 20 }),
  },
]

// The folders of test/ that are groups, in this order; a folder that is not named here comes after them.
const FOLDERS: Readonly<Record<string, string>> = {
  native: 'native: berth-init by itself',
  contract: 'contract: every implementation of an interface',
  conformance: 'conformance: the runtime-spec, on Berth and on its peers',
  integration: 'integration: containers from end to end',
  clients: 'clients: the unmodified programs of others',
  security: 'security: the published classes of escape',
  fault: 'fault: a failure at every step',
}
const NOT_FOLDER_GROUPS = ['structure', 'support', 'vm']

function folderGroups(): Group[] {
  const present = readdirSync(join(ROOT, 'test'), { withFileTypes: true })
    .filter(entry => entry.isDirectory() && !NOT_FOLDER_GROUPS.includes(entry.name) && hasTests(entry.name))
    .map(entry => entry.name)
  const known = Object.keys(FOLDERS)
  const ordered = [...known.filter(name => present.includes(name)), ...present.filter(name => !known.includes(name))]
  return ordered.map(name => ({ name, what: FOLDERS[name] ?? name, run: () => runFolder(name, 600) }))
}

function hasTests(folder: string): boolean {
  return [...new Bun.Glob('**/*.test.ts').scanSync(join(ROOT, 'test', folder))].length > 0
}

function runFolder(folder: string, limitSeconds: number): Promise<GroupResult> {
  return runTests({ paths: [`./test/${folder}/`], limitSeconds, testLimitSeconds: 60 })
}

function chooseGroups(names: readonly string[]): Group[] {
  const vm: Group = { name: 'vm', what: 'vm: what this machine cannot show', run: runVmSuites }
  const all = [...CHECK, ...folderGroups(), vm]
  if (names.length === 0) return all
  return names.flatMap(name => {
    if (name === 'check') return CHECK
    const group = all.find(candidate => candidate.name === name)
    if (group) return group
    console.error(`Cannot run group "${name}": unknown, expected check, ${all.map(({ name }) => name).join(', ')}`)
    return process.exit(2)
  })
}

function counts({ passedCount, failedCount, skipped }: GroupResult): string {
  return `${passedCount} passed, ${failedCount} failed, ${skipped.length} skipped`
}

async function runGroup({ what, run }: Group): Promise<GroupResult> {
  console.log(`\n== ${what}`)
  const beganMs = performance.now()
  const result = await run()
  for (const { file, name, reason } of result.skipped) console.log(`   skipped: ${file}: ${name}: ${reason || '?'}`)
  if (result.trouble !== '') console.log(result.trouble)
  console.log(`   ${counts(result)} (${((performance.now() - beganMs) / 1000).toFixed(1)} s)`)
  return result
}

async function main(names: readonly string[]): Promise<number> {
  let total = EMPTY_RESULT
  const failed: string[] = []
  for (const group of chooseGroups(names)) {
    const result = await runGroup(group)
    if (result.failedCount > 0) failed.push(group.name)
    total = addResults(total, result)
  }
  if (failed.length > 0) console.log(`\nfailed: ${failed.join(', ')}`)
  console.log(`\n${counts(total)}`)
  return total.failedCount === 0 ? 0 : 1
}

process.exit(await main(process.argv.slice(2)))

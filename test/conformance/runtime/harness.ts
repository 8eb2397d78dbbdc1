/**
 * The conformance tests' one way to say a thing: `conforms(claim, box => …)` declares a test that runs once per
 * runtime, on Berth and on the runc of the machine, so that a red test accuses the right party. A box is a bundle of
 * its own with a root filesystem of busybox; after the test nothing of its containers may be left.
 *
 * BERTH_CONFORMANCE_RUNTIMES chooses the runtimes (`berth`, `runc`, separated by commas).
 */

import { test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { skippedName } from '../../support/junit.ts'
import { type RequirementName, requirement } from '../../support/requirement.ts'
import { Box } from './box.ts'
import { compileProbe } from './rootfs.ts'

/** A program with the commands of an OCI runtime. */
export interface Runtime {
  readonly name: 'berth' | 'runc'
  readonly command: readonly string[]
}

/** What a test needs beside root and busybox. */
export interface Conditions {
  /** Why runc 1.1.5 can't pass it: the test is skipped there, and counted. */
  readonly notOnRunc?: string
  readonly needs?: readonly RequirementName[]
}

const ALWAYS_NEEDED: readonly RequirementName[] = ['root', 'command busybox', 'command cc']
const MAIN = join(import.meta.dir, '../../../src/cli/main.ts')
const KNOWN: readonly Runtime[] = [
  { name: 'berth', command: [process.execPath, MAIN, 'runtime'] },
  { name: 'runc', command: ['runc'] },
]

/** The runtimes to judge: Berth, and runc where it is installed. */
export function runtimes(): readonly Runtime[] {
  const chosen = process.env['BERTH_CONFORMANCE_RUNTIMES']?.split(',')
  return KNOWN.filter(({ name }) => chosen?.includes(name) ?? (name === 'berth' || requirement('runc').ok))
}

let base: string | null = null

/** Tests that are declared and have not run. When there are none, a file is done and the scratch directory can go. */
let pending = 0

/** Where the boxes of a test file are, and the probe that all of them share. World-readable: containers have other ids. */
function scratch(): string {
  if (base === null) {
    base = mkdtempSync(join(tmpdir(), 'berth-conformance-'))
    compileProbe(base)
  }
  return base
}

// Not afterAll(): this module is loaded once for all files of a run, and a hook would belong to the first of them.
function removeScratch(): void {
  if (base !== null) rmSync(base, { recursive: true, force: true })
  base = null
}

/** Declares a test per runtime. The claim is what docs/conformance.md cites. */
export function conforms(claim: string, run: (box: Box) => Promise<unknown>, conditions: Conditions = {}): void {
  const missing = [...ALWAYS_NEEDED, ...(conditions.needs ?? [])].map(requirement).find(({ ok }) => !ok)
  for (const runtime of runtimes()) {
    const name = `${runtime.name}: ${claim}`
    const reason = missing?.reason ?? (runtime.name === 'runc' ? conditions.notOnRunc : undefined)
    const body = async () => {
      const box = new Box(runtime, scratch())
      try {
        await run(box)
      } finally {
        await box.remove()
        pending -= 1
        if (pending === 0) removeScratch()
      }
      await box.expectNothingLeft()
    }
    if (reason === undefined) {
      pending += 1
      test(name, body, TEST_LIMIT_MS)
    } else test.skip(skippedName(name, reason), body)
  }
}

const TEST_LIMIT_MS = 60_000

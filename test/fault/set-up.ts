/** What the suites of this folder stand on: scenery in a directory of their own, and the mark that tells what is left. */

import { afterAll, beforeAll } from 'bun:test'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { make } from '../native/init-driver.ts'
import { Mark } from './leftovers.ts'
import { listenForFds, makeScenery } from './scenes.ts'

/** Made before the tests of a suite and removed after them. */
export interface SetUp {
  readonly base: string
  /** There is none before the first test. */
  readonly mark: Mark
  /** A container id that no other has, and none of them is part of another. */
  nextId(): string
}

/** Sets a suite up; `name` is in the names of all it makes. */
export function setUp(name: string): SetUp {
  const base = mkdtempSync(join(tmpdir(), `berth-${name}-`))
  const stack = new DisposableStack()
  let mark: Mark | null = null
  let made = 0

  beforeAll(() => {
    make('berth-init')
    chmodSync(base, 0o711)
    makeScenery(base)
    stack.defer(() => rmSync(base, { recursive: true }))
    mark = stack.use(new Mark(base))
    stack.use(listenForFds(base))
  })

  afterAll(() => stack.dispose())

  return {
    base,
    get mark() {
      if (mark === null) throw new Error('Cannot use the mark: no test runs yet')
      return mark
    },
    nextId: () => `b${name.slice(0, 1)}${process.pid}x${String(made++).padStart(5, '0')}z`,
  }
}

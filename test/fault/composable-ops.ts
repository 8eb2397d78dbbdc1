/** Which operations the plan of a container can have: read from the composers, so that a new one is not forgotten. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { OpName } from '../../src/plan/ops.ts'

const COMPOSERS = join(import.meta.dir, '../../src/runtime')

/** Composers of other plans than a container's. */
const OTHER_PLANS = ['compose-exec.ts', 'compose-finish.ts', 'compose-relay.ts']

/** What the machine lets a container's plan have. */
export interface Machine {
  /** Pure v2: devices are filtered by a program, the cgroup is entered by clone, and its files can be given away. */
  readonly cgroup2: boolean
  /** An interface can be made, to be moved. */
  readonly link: boolean
}

/** The operations, sorted. */
export function composableOps({ cgroup2, link }: Machine): OpName[] {
  const missing: readonly OpName[] = [
    ...(cgroup2 ? (['write_fd'] as const) : (['bpf_device'] as const)),
    ...(link ? [] : (['create_file'] as const)),
  ]
  const files = readdirSync(COMPOSERS).filter(name => /^compose-[a-z-]+\.ts$/.test(name) && !OTHER_PLANS.includes(name))
  const ops = files.flatMap(name => [
    ...readFileSync(join(COMPOSERS, name), 'utf8').matchAll(/\bstep\(\s*'([a-z0-9_]+)'/g),
  ])
  const names = new Set(ops.map(([, name]) => name as OpName))
  return [...names].filter(name => !missing.includes(name)).sort()
}

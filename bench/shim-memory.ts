import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createContainer } from '../src/runtime/create.ts'
import { deleteContainer } from '../src/runtime/delete.ts'
import type { RuntimeOptions } from '../src/runtime/runtime-options.ts'
import { startContainer } from '../src/runtime/start.ts'
import { makeBundle } from './bundle.ts'
import { quantile } from './quantile.ts'

/** What one shim holds, in KiB; medians over all. Source: proc_pid_smaps(5). */
export interface ShimMemory {
  readonly shims: number
  /** Pages of its own: Private_Clean + Private_Dirty. What one container more costs. */
  readonly privateKib: number
  /** The same with its part of what all shims share. */
  readonly proportionalKib: number
  /** The largest `privateKib` of one shim. */
  readonly privateMaxKib: number
}

const LOG = { name: 'container.log', maxBytes: 20 * 1024 * 1024, maxFiles: 5 }

/** Starts `count` containers with a shim that logs, reads what the shims hold, and removes them. */
export async function measureShims(count: number, directory: string): Promise<ShimMemory> {
  const bundle = makeBundle(join(directory, 'sleeper'), ['/bin/sleep', '600'])
  const options: RuntimeOptions = {
    root: join(directory, 'state'),
    systemdCgroup: false,
    warn: text => console.error(text),
  }
  const logs = join(directory, 'logs')
  mkdirSync(logs)
  const ids = Array.from({ length: count }, (_, index) => `berth-bench-${process.pid}-${index}`)
  const shims: number[] = []
  try {
    for (const id of ids) {
      const { launcherPid } = await createContainer(id, {
        ...options,
        bundle,
        consoleSocket: null,
        pidFile: null,
        preservedFds: 0,
        pivot: true,
        newKeyring: true,
        start: 'on request',
        ending: { kind: 'serve', stdin: false, log: { directory: logs, ...LOG, name: id } },
        stdio: ['ignore', 'ignore', 'ignore'],
      })
      await startContainer(id, options)
      shims.push(launcherPid)
    }
    return summary(shims.map(readRollup))
  } finally {
    for (const id of ids) await deleteContainer(id, { ...options, force: true })
  }
}

interface Rollup {
  readonly privateKib: number
  readonly proportionalKib: number
}

function readRollup(pid: number): Rollup {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1])
  return { privateKib: field('Private_Clean') + field('Private_Dirty'), proportionalKib: field('Pss') }
}

function summary(rollups: readonly Rollup[]): ShimMemory {
  const privates = rollups.map(({ privateKib }) => privateKib)
  return {
    shims: rollups.length,
    privateKib: quantile(privates, 0.5),
    proportionalKib: quantile(
      rollups.map(({ proportionalKib }) => proportionalKib),
      0.5,
    ),
    privateMaxKib: Math.max(...privates),
  }
}

if (import.meta.main) {
  const directory = mkdtempSync(join(tmpdir(), 'berth-bench-'))
  try {
    console.log(await measureShims(Number(process.argv[2] ?? '20'), directory))
  } finally {
    rmSync(directory, { recursive: true })
  }
}

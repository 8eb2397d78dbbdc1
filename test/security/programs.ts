import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The hostile programs of this folder, compiled: static, since they run in root filesystems without libraries. */
export interface Programs {
  readonly probe: string
  readonly swapper: string
}

let compiled: Programs | null = null

/** Compiles them once a process. @throws Error with what the compiler said */
export function programs(): Programs {
  if (compiled !== null) return compiled
  const directory = mkdtempSync(join(tmpdir(), 'berth-hostile-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  compiled = { probe: compile('probe', directory), swapper: compile('swapper', directory) }
  return compiled
}

function compile(name: string, directory: string): string {
  const program = join(directory, name)
  const source = join(import.meta.dir, `${name}.c`)
  const built = spawnSync('cc', ['-static', '-O1', '-Wall', '-Wextra', '-Werror', '-o', program, source])
  if (built.status !== 0) throw new Error(`Cannot compile "${source}": ${built.stderr}`)
  return program
}

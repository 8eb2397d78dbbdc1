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
const directories: string[] = []

/** For the end of a suite; the next one compiles them again. */
export function removePrograms(): void {
  compiled = null
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
}

/** Compiles them once a suite. @throws Error with what the compiler said */
export function programs(): Programs {
  if (compiled !== null) return compiled
  const directory = mkdtempSync(join(tmpdir(), 'berth-hostile-'))
  directories.push(directory)
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

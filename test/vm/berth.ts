/** Berth's command line run from source, and files that the kernel shows of it. */

import { copyFileSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { finish, type Outcome } from '../runtime/verbs-machine.ts'
import { ROOT } from '../support/group.ts'

/** Berth as a command with its first arguments. */
export const BERTH: readonly string[] = [process.execPath, join(ROOT, 'src/cli/main.ts')]

/** Runs `berth` to its end. */
export async function berth(...args: readonly string[]): Promise<Outcome> {
  return await outcomeOf([...BERTH, ...args])
}

/** Runs a command to its end. */
export async function outcomeOf(command: readonly string[]): Promise<Outcome> {
  return await finish(Bun.spawn([...command], { cwd: ROOT, stdin: new Uint8Array(), stdout: 'pipe', stderr: 'pipe' }))
}

/** A file of the kernel, without the line break at its end. */
export function kernelFile(...path: readonly string[]): string {
  return readFileSync(join(...path), 'utf8').trimEnd()
}

/** Makes a root filesystem with busybox as the programs that tests use. */
export function makeBusyboxRootfs(directory: string): void {
  for (const name of ['bin', 'etc', 'tmp', 'proc', 'dev', 'sys']) mkdirSync(join(directory, name), { recursive: true })
  copyFileSync('/bin/busybox', join(directory, 'bin/busybox'))
  for (const name of ['sh', 'cat', 'id', 'sleep', 'true']) symlinkSync('busybox', join(directory, 'bin', name))
}

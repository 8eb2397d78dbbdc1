import { fstatSync } from 'node:fs'
import type { LaunchStdio } from '../host/launcher.ts'

type Three<T> = readonly [T, T, T]

/** Which of stdin, stdout and stderr are pipes: those are given to the container's user, who could not reopen them otherwise. */
export function pipesAmong([stdin, stdout, stderr]: Three<LaunchStdio>): Three<boolean> {
  return [isPipe(stdin), isPipe(stdout), isPipe(stderr)]
}

function isPipe(stdio: LaunchStdio): boolean {
  return typeof stdio === 'number' && fstatSync(stdio).isFIFO()
}

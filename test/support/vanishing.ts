/** Looks at files that may go away in the same moment (ENOENT, ESRCH) or be another user's (EACCES): then they are not there. */

import { type Dirent, readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** The names in a directory; none when it is not there. */
export function listNames(path: string): string[] {
  return orElse(() => readdirSync(path), [])
}

/** The same with the type of each. */
export function listEntries(path: string): Dirent[] {
  return orElse(() => readdirSync(path, { withFileTypes: true }), [])
}

/** The text of a file; empty when it is not there. */
export function readText(path: string): string {
  return orElse(() => readFileSync(path, 'utf8'), '')
}

/** What a link says; empty when it is not there. */
export function readLink(path: string): string {
  return orElse(() => readlinkSync(path), '')
}

function orElse<T>(look: () => T, otherwise: T): T {
  try {
    return look()
  } catch {
    return otherwise
  }
}

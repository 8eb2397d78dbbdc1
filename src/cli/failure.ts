import { BerthError } from '../lib/error.ts'

/** Exit status of docker and podman when the engine itself, not the program in the container, failed. */
export const ENGINE_FAILURE = 125

/** Prints an error for a person and returns the exit status. An error that is not ours is a bug and shows its stack. */
export function fail(error: unknown): number {
  const state = worldState(error)
  if (error instanceof BerthError) console.error(`berth: ${error.message}`)
  else if (state !== null) console.error(`berth: Cannot go on: ${state}`)
  else console.error(error)
  return ENGINE_FAILURE
}

/** Tells a person of something that did not keep the command from its work. */
export function warnOnStderr(message: string): void {
  console.error(`berth: warning: ${message}`)
}

/** What a disk may say at any moment, to the database too: no bug of ours, and the stack would hide what to do. Null: something else. */
function worldState(error: unknown): string | null {
  if (!(error instanceof Error)) return null
  const { code, path } = error as { readonly code?: unknown; readonly path?: unknown }
  const what = typeof code === 'string' ? DISK_STATES[code] : undefined
  if (what === undefined) return null
  return typeof path === 'string' ? `${what} ("${path}")` : what
}

const DISK_STATES: Readonly<Record<string, string>> = {
  ENOSPC: 'no space is left on the device',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the file system is read-only',
  SQLITE_FULL: 'no space is left on the device of the data root, expected room for state.db',
  SQLITE_READONLY: 'state.db of the data root is read-only',
}

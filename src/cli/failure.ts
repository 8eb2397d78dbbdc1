import { BerthError } from '../lib/error.ts'

/** Exit status of docker and podman when the engine itself, not the program in the container, failed. */
export const ENGINE_FAILURE = 125

/** Prints an error for a person and returns the exit status. An error that is not ours is a bug and shows its stack. */
export function fail(error: unknown): number {
  if (error instanceof BerthError) console.error(`berth: ${error.message}`)
  else console.error(error)
  return ENGINE_FAILURE
}

/** Ids of containers, which name directories, cgroups and sockets. */

import { BerthError } from '../lib/error.ts'

/** A checked container id. */
export type ContainerId = string & { readonly __brand: 'ContainerId' }

/** runc sets no limit; a directory's name ends at 255 bytes, and cgroup and temporary names add to the id. */
const MAX_LENGTH = 200

/**
 * Accepts what runc accepts: letters, digits and `_+-.`, but not `.` and `..`; at most 200 characters.
 * @throws {BerthError} invalidArgument.
 */
export function parseContainerId(text: string): ContainerId {
  if (!/^[\w+.-]+$/.test(text) || text === '.' || text === '..') {
    throw idError(text, 'not a valid id, expected letters, digits and "_+-." only')
  }
  if (text.length > MAX_LENGTH) throw idError(text, `${text.length} characters, expected at most ${MAX_LENGTH}`)
  return text as ContainerId
}

function idError(text: string, state: string): BerthError {
  const shown = text.length > 80 ? `${text.slice(0, 77)}…` : text
  return new BerthError('invalidArgument', `Cannot use container id ${JSON.stringify(shown)}: ${state}`)
}

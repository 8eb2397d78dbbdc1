import { BerthError } from '../lib/error.ts'
import type { Process } from '../oci/runtime-spec.ts'

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const PATH_VARIABLE = 'PATH='

/**
 * Where the program of a process may be, in order: itself when its name has a slash, else below each directory of the process's
 * own PATH. Empty entries of PATH do not mean the working directory here: an image could place a program there.
 * @throws {BerthError} invalidArgument when there are no arguments
 */
export function executableCandidates(process: Process): readonly string[] {
  const name = process.args?.[0]
  if (name === undefined || name === '')
    throw new BerthError('invalidArgument', `Cannot start the process: process.args is empty, expected a program`)
  if (name.includes('/')) return [name]
  const path = process.env?.findLast(variable => variable.startsWith(PATH_VARIABLE))?.slice(PATH_VARIABLE.length)
  return (path ?? DEFAULT_PATH)
    .split(':')
    .filter(directory => directory.startsWith('/'))
    .map(directory => `${directory}/${name}`)
}

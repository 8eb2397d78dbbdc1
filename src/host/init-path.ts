import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { BerthError } from '../lib/error.ts'

/**
 * Where berth-init is: beside the compiled program, or in a checkout's build folder when run from source.
 * Never taken from the environment: it runs with every privilege there is.
 * @throws {BerthError} unavailable
 */
export function initPath(): string {
  const candidates = [
    join(dirname(process.execPath), 'berth-init'),
    join(import.meta.dir, '../../native/build/berth-init'),
  ]
  const found = candidates.find(path => existsSync(path))
  if (found === undefined)
    throw new BerthError(
      'unavailable',
      `Cannot find berth-init: not in ${candidates.map(path => dirname(path)).join(' or ')}`,
    )
  return found
}

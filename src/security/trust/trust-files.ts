import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { BerthError, messageOf } from '../../lib/error.ts'

/** A policy file, read. */
export interface PolicyFile {
  readonly path: string
  readonly text: string
}

/**
 * The trust policy that counts: the one that was named, else the user's own, else the machine's. Null: there is none.
 * @throws {BerthError} notFound: the named one is not there; unavailable: the one that is there can't be read
 */
export function readPolicyFile(given: string | undefined): PolicyFile | null {
  if (given !== undefined) {
    const text = readIfThere(given)
    if (text === null) throw new BerthError('notFound', `Cannot read trust policy "${given}": it does not exist`)
    return { path: given, text }
  }
  for (const path of [join(userConfig(), 'policy.json'), '/etc/containers/policy.json']) {
    const text = readIfThere(path)
    if (text !== null) return { path, text }
  }
  return null
}

/** Where it is said where signatures are: the user's own directory instead of the machine's. Source: containers-registries.d(5). */
export function signaturePlacesDirectory(): string {
  const own = join(userConfig(), 'registries.d')
  return existsSync(own) ? own : '/etc/containers/registries.d'
}

/** Where signatures are kept on a machine by those who sign on it. */
export function defaultLookaside(): string {
  const data = process.env['XDG_DATA_HOME'] || join(homedir(), '.local/share')
  return `file://${process.getuid?.() === 0 ? '/var/lib' : data}/containers/sigstore`
}

function userConfig(): string {
  return join(process.env['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'containers')
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    // One that can't be read might refuse everything.
    throw new BerthError('unavailable', `Cannot read trust policy "${path}": ${messageOf(error)}`, { cause: error })
  }
}

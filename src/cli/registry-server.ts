import { BerthError } from '../lib/error.ts'

/**
 * The host of a registry as a user names it: `registry.test:5000`, with or without scheme and the paths of old APIs; without one
 * the default registry. @throws {BerthError} invalidArgument: not a host
 */
export function registryServer(operand: string | undefined): string {
  const text = (operand ?? 'docker.io').toLowerCase()
  const [, host = ''] = /^(?:https?:\/\/)?([a-z0-9.:[\]-]+)(?:\/(?:v[12]\/?)?)?$/.exec(text) ?? []
  if (host === '' || !URL.canParse(`https://${host}`))
    throw new BerthError('invalidArgument', `Cannot use registry "${operand}": it is no host with a port or without`)
  return ['index.docker.io', 'registry-1.docker.io'].includes(host) ? 'docker.io' : host
}

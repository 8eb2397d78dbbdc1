import { isAbsolute } from 'node:path'
import type { BindOption, DeviceOption, TmpfsOption } from '../engine/container-options.ts'
import { BerthError } from '../lib/error.ts'

const PROPAGATIONS = new Set(['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared'])
/** Docker's words that ask for nothing on this platform: consistency of shares of a virtual machine, relabelling without SELinux. */
const WITHOUT_EFFECT = new Set(['consistent', 'cached', 'delegated', 'nocopy', 'z', 'Z'])

/** `HOST:PATH[:OPTIONS]`. */
export function parseBind(text: string): BindOption {
  const [source = '', target = '', optionText = '', ...rest] = text.split(':')
  if (rest.length > 0 || !isAbsolute(source) || !isAbsolute(target) || target === '/')
    throw new BerthError(
      'invalidArgument',
      `Cannot use --volume "${text}": expected HOST:PATH[:OPTIONS] with absolute paths; named volumes are not supported by this version`,
    )
  const options: string[] = []
  for (const word of optionText.split(',').filter(Boolean)) {
    if (word === 'ro' || word === 'rw' || PROPAGATIONS.has(word)) options.push(word)
    else if (!WITHOUT_EFFECT.has(word))
      throw new BerthError('invalidArgument', `Cannot use --volume "${text}": "${word}" is not an option of it`)
  }
  if (!options.some(word => PROPAGATIONS.has(word))) options.push('rprivate')
  return { source, target, options }
}

/** `PATH[:OPTIONS]`. */
export function parseTmpfs(text: string): TmpfsOption {
  const colon = text.indexOf(':')
  const target = colon === -1 ? text : text.slice(0, colon)
  if (!isAbsolute(target) || target === '/')
    throw new BerthError(
      'invalidArgument',
      `Cannot use --tmpfs "${text}": expected PATH[:OPTIONS] with an absolute path`,
    )
  return {
    target,
    options:
      colon === -1
        ? []
        : text
            .slice(colon + 1)
            .split(',')
            .filter(Boolean),
  }
}

/** `HOST[:PATH[:rwm]]`. */
export function parseDevice(text: string): DeviceOption {
  const [hostPath = '', ...parts] = text.split(':')
  // A second part that is no path can only be the access; a wrong one must not pass for the default, which is more.
  const path = parts[0]?.startsWith('/') === true ? parts.shift() : hostPath
  const [access = 'rwm', ...rest] = parts
  if (path === undefined || rest.length > 0 || !isAbsolute(hostPath) || !/^[rwm]{1,3}$/.test(access))
    throw new BerthError(
      'invalidArgument',
      `Cannot use --device "${text}": expected HOST[:PATH[:rwm]] with absolute paths`,
    )
  return { hostPath, path, access }
}

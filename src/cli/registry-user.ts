import { homedir } from 'node:os'
import type { RegistryUser } from '../registry/registry-options.ts'
import { warnOnStderr } from './failure.ts'

/** Us, as a user of registries: the environment and the home directory that the command was started with. */
export function registryUser(registriesDirectory: string | undefined): RegistryUser {
  return {
    environment: process.env,
    home: homedir(),
    isRoot: process.getuid?.() === 0,
    ...(registriesDirectory !== undefined && { registriesDirectory }),
    warn: warnOnStderr,
  }
}

/** The option that names other hosts files than the usual ones. */
export const REGISTRIES_OPTION = Object.freeze({
  name: 'registries-dir',
  kind: 'value',
  value: 'DIR',
  help: 'how registries are reached: DIR/REGISTRY/hosts.toml (default: /etc/berth/registries.d)',
} as const)

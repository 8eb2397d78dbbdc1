import { join } from 'node:path'
import { ProxyRules, proxySettings } from './proxy-rules.ts'
import type { RegistryOptions } from './registry-client.ts'
import { RegistryHosts } from './registry-hosts.ts'
import { StoredCredentials } from './stored-credentials.ts'

/** Who uses registries, and what he says of them. */
export interface RegistryUser {
  readonly environment: Readonly<Record<string, string | undefined>>
  /** His home directory. */
  readonly home: string
  readonly isRoot: boolean
  /** Directories of hosts files instead of the usual ones. */
  readonly registriesDirectory?: string
  readonly warn: (message: string) => void
}

const SYSTEM_REGISTRIES = '/etc/berth/registries.d'

/** The options of a registry client for a user: his files, else the system's. */
export function registryOptions(user: RegistryUser): RegistryOptions & { readonly credentials: StoredCredentials } {
  return {
    hosts: new RegistryHosts(registriesDirectories(user)),
    credentials: storedCredentials(user),
    proxies: new ProxyRules(proxySettings(user.environment)),
    warn: user.warn,
  }
}

function registriesDirectories({ environment, home, isRoot, registriesDirectory }: RegistryUser): readonly string[] {
  if (registriesDirectory !== undefined) return [registriesDirectory]
  if (isRoot) return [SYSTEM_REGISTRIES]
  const config = absolute(environment['XDG_CONFIG_HOME']) ?? join(home, '.config')
  return [join(config, 'berth/registries.d'), SYSTEM_REGISTRIES]
}

/** The credentials of a user: `$REGISTRY_AUTH_FILE`, then config.json in `$DOCKER_CONFIG` or `~/.docker`. */
export function storedCredentials({
  environment,
  home,
}: Pick<RegistryUser, 'environment' | 'home'>): StoredCredentials {
  const docker = join(environment['DOCKER_CONFIG'] || join(home, '.docker'), 'config.json')
  const authFile = environment['REGISTRY_AUTH_FILE'] || null
  return new StoredCredentials(authFile === null ? [docker] : [authFile, docker], { environment })
}

/** The XDG base directory specification ignores relative paths. */
function absolute(path: string | undefined): string | null {
  return path?.startsWith('/') === true ? path : null
}

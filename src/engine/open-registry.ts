import { homedir } from 'node:os'
import { join } from 'node:path'
import { ANONYMOUS } from '../registry/credentials.ts'
import { ProxyRules, proxySettings } from '../registry/proxy-rules.ts'
import { RegistryClient } from '../registry/registry-client.ts'
import { RegistryHosts } from '../registry/registry-hosts.ts'

/** A client of registries as this machine and its user are set up for it. Dispose it when the last transfer has ended. */
export function openRegistry(warn: (message: string) => void): RegistryClient {
  return new RegistryClient({
    hosts: new RegistryHosts(hostDirectories()),
    credentials: ANONYMOUS,
    proxies: new ProxyRules(proxySettings(process.env)),
    warn,
  })
}

/** Where it is said how registries are reached: the user's own before the machine's. */
function hostDirectories(): readonly string[] {
  const own = join(process.env['XDG_CONFIG_HOME'] ?? join(homedir(), '.config'), 'berth/registries')
  const machine = '/etc/berth/registries'
  return process.getuid?.() === 0 ? [machine] : [own, machine]
}

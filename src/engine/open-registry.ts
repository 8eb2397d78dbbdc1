import { homedir } from 'node:os'
import { RegistryClient } from '../registry/registry-client.ts'
import { registryOptions } from '../registry/registry-options.ts'

/** A client of registries as this machine and its user are set up for it. Dispose it when the last transfer has ended. */
export function openRegistry(warn: (message: string) => void): RegistryClient {
  const isRoot = process.getuid?.() === 0
  return new RegistryClient(registryOptions({ environment: process.env, home: homedir(), isRoot, warn }))
}

import { readFileSync } from 'node:fs'
import type { ContainerOptions } from '../engine/container-options.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { CONTAINER_DEFAULTS } from '../security/defaults.ts'
import type { DockerProfile } from '../security/docker-profile.ts'
import { parseSeccompChoice } from '../security/seccomp-profile.ts'
import { parseDockerProfile } from '../security/seccomp-profile-parser.ts'

type SecurityOptions = Pick<ContainerOptions, 'noNewPrivileges' | 'seccomp' | 'appArmor' | 'seLinuxLabel' | 'maskPaths'>

/**
 * `--security-opt` as docker takes it. What is not known is an error: an option that only seems to be on is worse than none.
 * A privileged container is confined by nothing but what is asked for here.
 * @throws {BerthError} invalidArgument
 */
export function readSecurityOptions(entries: readonly string[], privileged: boolean): SecurityOptions {
  let result: SecurityOptions = {
    noNewPrivileges: CONTAINER_DEFAULTS.noNewPrivileges && !privileged,
    seccomp: privileged ? null : 'builtin',
    appArmor: null,
    seLinuxLabel: null,
    maskPaths: !privileged,
  }
  for (const entry of entries) result = { ...result, ...readOne(entry) }
  return result
}

function readOne(entry: string): Partial<SecurityOptions> {
  // Docker takes a colon too, from before 1.11.
  const [, key = '', value = ''] = /^([a-z-]+)(?:[=:](.*))?$/s.exec(entry) ?? []
  switch (key) {
    case 'no-new-privileges':
      if (!['', 'true', 'false'].includes(value)) break
      return { noNewPrivileges: value !== 'false' }
    case 'seccomp':
      return { seccomp: readSeccomp(value) }
    case 'apparmor':
      if (value === '') break
      return { appArmor: value === 'unconfined' ? null : value }
    case 'label':
      if (value === 'disable') return { seLinuxLabel: null }
      break
    case 'systempaths':
      if (value === 'unconfined') return { maskPaths: false }
      break
  }
  throw new BerthError(
    'invalidArgument',
    `Cannot use --security-opt "${entry}": expected seccomp=FILE|builtin|unconfined, apparmor=PROFILE, label=disable, no-new-privileges[=BOOL] or systempaths=unconfined`,
  )
}

function readSeccomp(value: string): 'builtin' | DockerProfile | null {
  const choice = parseSeccompChoice(value)
  if (choice.kind === 'builtin') return 'builtin'
  if (choice.kind === 'unconfined') return null
  let text: string
  try {
    text = readFileSync(choice.path, 'utf8')
  } catch (error) {
    throw new BerthError('invalidArgument', `Cannot read seccomp profile "${choice.path}": ${messageOf(error)}`, {
      cause: error,
    })
  }
  return parseDockerProfile(text, choice.path)
}

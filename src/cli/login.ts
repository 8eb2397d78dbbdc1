import { BerthError } from '../lib/error.ts'
import type { Credential } from '../registry/credentials.ts'
import { RegistryClient } from '../registry/registry-client.ts'
import { registryOptions } from '../registry/registry-options.ts'
import { fail } from './failure.ts'
import { interruptible } from './interruptible.ts'
import { type Grammar, helpText, type ParsedOptions, parseOptions, UsageError } from './options.ts'
import { Prompt, readSecretInput } from './prompt.ts'
import { registryServer } from './registry-server.ts'
import { REGISTRIES_OPTION, registryUser } from './registry-user.ts'

const grammar: Grammar = {
  name: 'login',
  operands: '[REGISTRY]',
  help: 'Checks a user name and a password at a registry, and keeps them for pull, push and search.',
  options: [
    { name: 'username', short: 'u', kind: 'value', value: 'NAME', help: 'the user name' },
    { name: 'password', short: 'p', kind: 'value', value: 'PASSWORD', help: 'the password, for all to see in ps' },
    { name: 'password-stdin', kind: 'flag', help: 'read the password from standard input' },
    REGISTRIES_OPTION,
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** `berth login`: what it prints is what `docker login` does. */
export async function loginCommand(args: readonly string[]): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  checkUsage(parsed)
  try {
    return await interruptible(async signal => {
      const host = registryServer(parsed.operands[0])
      const options = registryOptions(registryUser(parsed.value('registries-dir')))
      const given = await credentialFrom(parsed, host, signal)
      using client = new RegistryClient(options)
      const kept = await client.checkLogin(host, given, signal)
      const { place, isClear } = await options.credentials.store(host, kept, signal)
      if (isClear) {
        console.error(`WARNING! Your password will be stored unencrypted in ${place}.`)
        console.error('Configure a credential helper to remove this warning.')
      }
      console.log('Login Succeeded')
    })
  } catch (error) {
    fail(error)
    return 1
  }
}

function checkUsage(parsed: ParsedOptions): void {
  const fromInput = parsed.flag('password-stdin')
  if (parsed.operands.length > 1) throw new UsageError(grammar, 'Cannot log in: more than one registry given')
  if (fromInput && parsed.value('password') !== undefined)
    throw new UsageError(grammar, 'Cannot log in: --password and --password-stdin are mutually exclusive')
  if (fromInput && (parsed.value('username') ?? '') === '')
    throw new UsageError(grammar, 'Cannot log in: Must provide --username with --password-stdin')
}

async function credentialFrom(parsed: ParsedOptions, host: string, signal: AbortSignal): Promise<Credential> {
  const password = parsed.value('password')
  if (password !== undefined) console.error('WARNING! Using --password via the CLI is insecure. Use --password-stdin.')
  const username = parsed.value('username') ?? ''
  if (parsed.flag('password-stdin')) return checked(username, await readSecretInput(signal), host)
  if (username !== '' && password !== undefined) return checked(username, password, host)
  if (process.stdin.isTTY !== true)
    throw new BerthError(
      'invalidArgument',
      'Cannot perform an interactive login from a non TTY device; use --username and --password-stdin',
    )
  using prompt = new Prompt(signal)
  const name = username === '' ? (await prompt.ask('Username: ')).trim() : username
  return checked(name, password ?? (await prompt.askSecret('Password: ')), host)
}

function checked(username: string, password: string, host: string): Credential {
  if (username === '' || username.includes(':'))
    throw new BerthError('invalidArgument', `Cannot log in to "${host}": a user name without ":" is required`)
  if (password === '') throw new BerthError('invalidArgument', `Cannot log in to "${host}": password is required`)
  return { kind: 'password', username, password }
}

import { storedCredentials } from '../registry/registry-options.ts'
import { fail } from './failure.ts'
import { interruptible } from './interruptible.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'
import { registryServer } from './registry-server.ts'
import { registryUser } from './registry-user.ts'

const grammar: Grammar = {
  name: 'logout',
  operands: '[REGISTRY]',
  help: 'Forgets the user name and the password for a registry.',
  options: [{ name: 'help', kind: 'flag', help: 'show this text' }],
}

/** `berth logout`: what it prints is what `docker logout` does. */
export async function logoutCommand(args: readonly string[]): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  if (parsed.operands.length > 1) throw new UsageError(grammar, 'Cannot log out: more than one registry given')
  try {
    return await interruptible(async signal => {
      const host = registryServer(parsed.operands[0])
      const had = await storedCredentials(registryUser(undefined)).erase(host, signal)
      console.log(had ? `Removing login credentials for ${host}` : `Not logged in to ${host}`)
    })
  } catch (error) {
    fail(error)
    return 1
  }
}

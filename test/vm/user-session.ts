/** The machine's ordinary user, for tests of what works without privileges. */

import { expect } from 'bun:test'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../runtime/verbs-machine.ts'
import { BERTH, makeBusyboxRootfs, outcomeOf } from './berth.ts'

/** The user's home directory. */
export const HOME = '/home/user'

/** Runs a shell script as the user; `$BERTH` is the program. */
export async function asUser(cgroup: 'delegated' | 'scope' | 'none', script: string) {
  const shell = ['sh', '-c', `BERTH='${BERTH.join(' ')}'; cd; ${script}`]
  await startSession()
  switch (cgroup) {
    case 'delegated':
      return await outcomeOf([
        ...['systemd-run', '--quiet', '--machine=user@', '--user', '--pipe', '--wait', '--collect'],
        ...['--property=Delegate=yes', ...shell],
      ])
    case 'scope':
      return await outcomeOf([...plainly({ XDG_RUNTIME_DIR: '/run/user/1000' }), ...shell])
    case 'none':
      return await outcomeOf([...plainly({ XDG_RUNTIME_DIR: '/tmp/runtime' }), ...shell])
  }
}

function plainly(variables: Readonly<Record<string, string>>): string[] {
  const env = { HOME, PATH: '/usr/bin:/usr/sbin', ...variables }
  const ids = ['setpriv', '--reuid=1000', '--regid=1000', '--init-groups']
  return [...ids, 'env', '--ignore-environment', ...Object.entries(env).map(([name, value]) => `${name}=${value}`)]
}

async function startSession(): Promise<void> {
  if (existsSync('/tmp/runtime')) return
  await outcomeOf(['loginctl', 'enable-linger', 'user'])
  await outcomeOf(['install', '--directory', '--owner=user', '--mode=0700', '/tmp/runtime'])
  await until(() => existsSync('/run/user/1000/bus'))
}

/** A bundle from `spec --rootless` in ~/NAME whose program is a shell command. */
export async function bundle(name: string, command: string): Promise<void> {
  const made = await asUser('none', `mkdir ${name} && cd ${name} && $BERTH runtime spec --rootless`)
  expect(made.stderr).toBe('')
  makeBusyboxRootfs(join(HOME, name, 'rootfs'))
  await outcomeOf(['chown', '--recursive', 'user:user', join(HOME, name)])
  change(name, text =>
    text.replace('"terminal": true', '"terminal": false').replace('"sh"', `"sh", "-c", ${JSON.stringify(command)}`),
  )
}

/** Edits the config of a bundle. */
export function change(name: string, edit: (text: string) => string): void {
  const path = join(HOME, name, 'config.json')
  writeFileSync(path, edit(readFileSync(path, 'utf8')))
}

/** Containers confined by profiles of AppArmor. */

import { expect } from 'bun:test'
import type { RuntimeSpec } from '../../src/oci/runtime-spec.ts'
import { Machine } from '../runtime/verbs-machine.ts'
import { testIf } from '../support/requirement.ts'
import { loadProfile } from './apparmor-policy.ts'
import { berth } from './berth.ts'

const inVm = testIf('vm', 'apparmor')
const LENIENT = 'berth-test-lenient'
const STRICT = 'berth-test-strict'

function confined(profile: string): (spec: RuntimeSpec) => RuntimeSpec {
  return spec => ({ ...spec, process: { cwd: '/', ...spec.process, apparmorProfile: profile } })
}

inVm('process.apparmorProfile confines the program, and what exec adds unless it names another', async () => {
  loadProfile(LENIENT, 'complain')
  loadProfile(STRICT, 'enforce')
  await using machine = new Machine()
  const id = await machine.container('confined', confined(LENIENT))
  const current = ['cat', '/proc/1/attr/current', '/proc/self/attr/current']
  const inherited = await machine.run(['exec', id, ...current])
  expect(inherited.stdout).toBe(`${LENIENT} (complain)\n${LENIENT} (complain)\n`)

  expect((await machine.run(['exec', id, 'cat', '/etc/not-executable'])).status).toBe(0)
  expect((await machine.run(['exec', '--apparmor', STRICT, id, 'cat', '/etc/not-executable'])).status).not.toBe(0)
})

inVm('a profile that is not loaded is an error that names it, and leaves nothing', async () => {
  await using machine = new Machine()
  const failure = machine.container('unknown', confined('no-such-profile'))
  await expect(failure).rejects.toThrow('AppArmor profile "no-such-profile", which must be loaded')
  expect(machine.leftovers()).toEqual([])
})

inVm('--security-opt apparmor= confines the program, in a user namespace too', async () => {
  loadProfile(LENIENT, 'complain')
  const look = ['host', 'cat', '/proc/self/attr/current']
  const { stdout } = await berth('run', '--rm', '--security-opt', `apparmor=${LENIENT}`, ...look)
  expect(stdout).toBe(`${LENIENT} (complain)\n`)
  const unconfined = await berth('run', '--rm', '--security-opt', 'apparmor=unconfined', ...look)
  expect(unconfined.stdout).toBe('unconfined\n')
})

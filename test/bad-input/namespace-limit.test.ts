/** A used-up limit on namespaces: one error that names the step and the limit, and nothing left. */

import { expect } from 'bun:test'
import { testIf } from '../support/requirement.ts'
import { type Json, Machine } from './berth-cli.ts'

const ROOT = [{ containerID: 0, hostID: 0, size: 1 }]
/**
 * The limit of a user namespace binds those below it, so one of our own is used up and the host's stays as it is. Its root may write
 * no cgroup, as a user without privileges.
 */
const EXHAUST = `
  for each in /sys/fs/cgroup /sys/fs/cgroup/*/; do mount -o remount,bind,ro,nosuid,nodev,noexec "$each" 2> /dev/null; done
  echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"`
const NESTED = ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', EXHAUST, 'sh']

function addUserNamespace(config: Json): void {
  const { linux = {} as Json } = config
  const namespaces = [...(linux['namespaces'] as unknown as object[]), { type: 'user' }]
  Object.assign(linux, { namespaces, uidMappings: ROOT, gidMappings: ROOT })
}

testIf('root', 'userns')('a limit on user namespaces that is used up is one error, and leaves nothing', async () => {
  using machine = new Machine()
  machine.configure(addUserNamespace)
  const run = ['--rootless', 'true', 'run', '--bundle', machine.bundle, machine.id]
  const { status, stderr } = await machine.run(run, NESTED)
  expect(stderr).toMatch(
    /^berth: Cannot [^\n]*step \d+ of stage host: clone\([^\n]*ENOSPC[^\n]*max_\*_namespaces[^\n]*\n$/,
  )
  expect(status).toBe(1)
  expect(machine.leftovers()).toEqual([])
})

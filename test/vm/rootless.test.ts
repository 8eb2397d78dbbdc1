// vm-run: --systemd
/** The runtime's verbs as an ordinary user: in a cgroup of his own, and without any. */

import { expect } from 'bun:test'
import { readFileSync } from 'node:fs'
import { testIf } from '../support/requirement.ts'
import { asUser, bundle, change } from './user-session.ts'

const inVm = testIf('vm', 'systemd', 'userns')

inVm('the runtime’s verbs work for a user, with state below XDG_RUNTIME_DIR and a cgroup beside his own', async () => {
  await bundle('verbs', 'cat /proc/self/uid_map; sleep 1000')
  const script = [
    '$BERTH runtime run --detach --bundle verbs one < /dev/null > out 2>&1; cat out',
    'ls -I "~" $XDG_RUNTIME_DIR/berth',
    '$BERTH runtime exec one sh -c "id -u; cat /proc/self/cgroup"',
    '$BERTH runtime list -q',
    '$BERTH runtime kill one KILL; $BERTH runtime delete --force one; ls -I "~" $XDG_RUNTIME_DIR/berth',
  ]
  const { stdout, stderr } = await asUser('delegated', script.join('; '))
  expect(stderr).toBe('')
  expect(stdout.replaceAll(/ +/g, ' ')).toBe(
    ' 0 1000 1\none\n0\n0::/user.slice/user-1000.slice/user@1000.service/app.slice/one\none\n',
  )
})

inVm('without a cgroup a container runs, and one that has limits is an error that says why it can’t', async () => {
  await bundle('bare', 'id -u; cat /proc/self/cgroup')
  const { stdout, stderr } = await asUser('none', '$BERTH runtime run --bundle bare two')
  expect(stderr).toBe('')
  expect(stdout).toBe(`0\n${readFileSync('/proc/self/cgroup', 'utf8')}`)
  change('bare', text => text.replace('"linux": {', '"linux": { "resources": { "memory": { "limit": 67108864 } },'))
  const limited = await asUser('none', '$BERTH runtime run --bundle bare two; ls -I "~" $XDG_RUNTIME_DIR/berth')
  expect(limited.stderr).toContain('no right to write there, expected a cgroup delegated to this user')
  expect(limited.stdout).toBe('')
})

inVm('subordinate ids are mapped by newuidmap, and those of others are refused', async () => {
  await bundle('ids', 'cat /proc/self/gid_map')
  const map = (first: number) =>
    change('ids', text =>
      text.replaceAll(/"(uid|gid)Mappings": \[[^\]]*\]/g, (_, kind) => {
        const mappings = [
          { containerID: 0, hostID: 1000, size: 1 },
          { containerID: 1, hostID: first, size: 100 },
        ]
        return `"${kind}Mappings": ${JSON.stringify(mappings)}`
      }),
    )
  map(100_000)
  const granted = await asUser('none', '$BERTH runtime run --bundle ids three')
  expect(granted.stdout.replaceAll(/ +/g, ' ')).toBe(' 0 1000 1\n 1 100000 100\n')
  map(500_000)
  const refused = await asUser('none', '$BERTH runtime run --bundle ids three; ls -I "~" $XDG_RUNTIME_DIR/berth')
  expect(refused.stderr).toContain('Cannot map ids: newuidmap')
  expect(refused.stdout).toBe('')
})

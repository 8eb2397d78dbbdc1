// vm-run: --systemd
/** `berth run` as an ordinary user: in a cgroup of his own, as a scope of his systemd, and without any cgroup. */

import { expect } from 'bun:test'
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { testIf } from '../support/requirement.ts'
import { outcomeOf } from './berth.ts'
import { asUser, bundle, HOME } from './user-session.ts'

const inVm = testIf('vm', 'systemd', 'userns')
const CONTAINERS = join(HOME, '.local/share/berth/containers')

inVm(
  'berth run: the user is root in a copy of the machine that is his own, within limits, and nothing is left',
  async () => {
    const look =
      'cat /proc/self/uid_map; cat /sys/fs/cgroup/pids.max; echo x > /etc/x; chown 5:6 /etc/x; stat -c %u /etc/x; ls /etc/shadow'
    for (const cgroup of ['delegated', 'scope'] as const) {
      const { stdout, stderr } = await asUser(cgroup, `$BERTH run --rm host sh -c '${look}'`)
      expect(stdout.replaceAll(/ +/g, ' ')).toBe(' 0 1000 1\n 1 100000 65535\n4096\n5\n')
      expect(stderr).toBe("ls: cannot access '/etc/shadow': No such file or directory\n")
      expect(existsSync('/etc/x')).toBe(false)
      expect(readdirSync(CONTAINERS)).toEqual([])
    }
    const eat = await asUser('scope', '$BERTH run --rm -m 32m host tail /dev/zero')
    expect(eat.status).toBe(137)
    expect((await outcomeOf(['find', '/sys/fs/cgroup', '-name', 'berth-*'])).stdout).toBe('')
  },
)

inVm('berth run without a cgroup: no limits, and an error for those that are asked for', async () => {
  const { stdout, stderr } = await asUser('none', '$BERTH run --rm host echo hello')
  expect(stdout + stderr).toBe('hello\n')
  const limited = await asUser('none', '$BERTH run --rm -m 64m host true')
  expect(limited.status).toBe(125)
  expect(limited.stderr).toContain('expected a cgroup delegated to this user')
  expect(readdirSync(CONTAINERS)).toEqual([])
})

inVm('berth run for a user: binds, --read-only, --tmpfs, --init and a root filesystem of his own', async () => {
  await bundle('own', 'true')
  const script = [
    'mkdir shared; $BERTH run --rm --init -v $PWD/shared:/mnt host sh -c "touch /mnt/file; stat -c %u /mnt/file"',
    'stat -c %u shared/file',
    '$BERTH run --rm --read-only --tmpfs /tmp host sh -c "touch /tmp/x; touch /etc/x /usr/x /x"',
    '$BERTH run --rm --rootfs own/rootfs sh -c "echo new > /etc/new; cat /etc/new"; ls own/rootfs/etc',
  ]
  const { stdout, stderr } = await asUser('scope', script.join('; '))
  expect(stdout).toBe('0\n1000\nnew\n')
  for (const path of ['/etc/x', '/usr/x', '/x']) expect(stderr).toContain(`'${path}': Read-only file system`)
  expect(stderr.trimEnd().split('\n')).toHaveLength(3)
})

inVm('what takes privileges on the host, a session, or ids that nobody granted is one clear error each', async () => {
  const errorOf = async (options: string): Promise<string> =>
    (await asUser('none', `$BERTH run --rm ${options} host true`)).stderr
  expect(await errorOf('--privileged')).toContain('Cannot use --privileged: it takes privileges on the host')
  expect(await errorOf('--userns=host')).toContain('Cannot use --userns=host: it takes privileges on the host')
  const nowhere = await asUser('none', 'XDG_RUNTIME_DIR=/run/user/77 $BERTH run --rm host true')
  expect(nowhere.stderr).toContain('"/run/user/77" does not exist, expected a session of user 1000')

  const granted = readFileSync('/etc/subuid', 'utf8')
  try {
    writeFileSync('/etc/subuid', '')
    expect(await errorOf('')).toContain('Cannot map ids for user "user": /etc/subuid gives him none')
  } finally {
    appendFileSync('/etc/subuid', granted)
  }
  rmSync('/tmp/runtime', { recursive: true })
})

// vm-run: --systemd
/** Containers of an ordinary user: in a cgroup of his own, as a scope of his systemd, and without any cgroup. */

import { expect } from 'bun:test'
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../runtime/verbs-machine.ts'
import { testIf } from '../support/requirement.ts'
import { BERTH, makeBusyboxRootfs, outcomeOf } from './berth.ts'

const inVm = testIf('vm', 'systemd', 'userns')
const HOME = '/home/user'
const CONTAINERS = join(HOME, '.local/share/berth/containers')

/** Runs a shell script as the user; `$BERTH` is the program. */
async function asUser(cgroup: 'delegated' | 'scope' | 'none', script: string) {
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
async function bundle(name: string, command: string): Promise<void> {
  const made = await asUser('none', `mkdir ${name} && cd ${name} && $BERTH runtime spec --rootless`)
  expect(made.stderr).toBe('')
  makeBusyboxRootfs(join(HOME, name, 'rootfs'))
  await outcomeOf(['chown', '--recursive', 'user:user', join(HOME, name)])
  change(name, text =>
    text.replace('"terminal": true', '"terminal": false').replace('"sh"', `"sh", "-c", ${JSON.stringify(command)}`),
  )
}

function change(name: string, edit: (text: string) => string): void {
  const path = join(HOME, name, 'config.json')
  writeFileSync(path, edit(readFileSync(path, 'utf8')))
}

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

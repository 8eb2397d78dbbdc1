/** `berth run` and files: mounts, root filesystems, images, names and ids, and what `berth explain` leaves alone. */

import { describe, expect } from 'bun:test'
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { LayoutBuilder, tagged } from '../image/layout-builder.ts'
import { archive } from '../support/tar-archive.ts'
import { engineTest } from './engine-box.ts'

describe('mounts of berth run', () => {
  engineTest('-v keeps the owners of files on both sides, and makes a directory that is not there', async box => {
    const given = box.file('shared/given', 'content')
    chownSync(given, 1234, 1234)
    const volumes = ['-v', `${box.path('shared')}:/shared`, '-v', `${box.path('new/deep')}:/new`]
    const { stdout, stderr } = await box.sh(
      volumes,
      'stat -c %u:%g /shared/given; touch /shared/made /new/made; chown 77:78 /new/made; stat -c %u /shared/made',
    )
    expect([stdout, stderr]).toEqual(['1234:1234\n0\n', ''])
    expect(statSync(box.path('shared/made')).uid).toBe(0)
    const { uid, gid } = statSync(box.path('new/deep/made'))
    expect([uid, gid]).toEqual([77, 78])
  })

  engineTest('--rm removes directories nested deeper than a path may be long', async box => {
    const nest = 'chdir "/opt"; for (1..600) { mkdir "deeper_and_deeper"; chdir "deeper_and_deeper" or die }'
    const { status, stderr } = await box.run('host', 'perl', '-e', nest)
    expect([status, stderr]).toEqual([0, ''])
  })

  engineTest('-v with ro, --read-only and --tmpfs', async box => {
    mkdirSync(box.path('shared'))
    const options = ['-v', `${box.path('shared')}:/shared:ro`, '--read-only', '--tmpfs', '/scratch:size=1m']
    const { stdout, stderr } = await box.sh(
      options,
      'for each in /shared /etc /scratch /dev/shm; do touch $each/x 2>/dev/null && echo $each; done; head -c 2000000 /dev/zero > /scratch/big',
    )
    expect(stdout).toBe('/scratch\n/dev/shm\n')
    expect(stderr).toContain('No space left on device')
    expect(readdirSync(box.path('shared'))).toEqual([])
  })
})

describe('images of berth run', () => {
  engineTest(
    '--rootfs leaves the directory as it is',
    async box => {
      const rootfs = box.rootfs()
      const { stdout, stderr } = await box.run(
        '--rootfs',
        rootfs,
        'sh',
        '-c',
        'echo new > /etc/new; cat /etc/new; rm() { /bin/busybox rm "$@"; }; rm /bin/id; ls /bin/id',
      )
      expect([stdout, stderr]).toEqual(['new\n', 'ls: /bin/id: No such file or directory\n'])
      expect(readdirSync(`${rootfs}/etc`)).toEqual([])
      expect(existsSync(`${rootfs}/bin/id`)).toBe(true)
    },
    ['command busybox'],
  )

  engineTest(
    'oci:DIR:TAG runs an image of a layout, with its config',
    async box => {
      const layout = new LayoutBuilder(box.path('layout'))
      const busybox = readFileSync(Bun.which('busybox') ?? '/bin/busybox')
      const layer = archive(
        { name: 'bin/', type: '5', mode: 0o755 },
        { name: 'bin/busybox', content: busybox, mode: 0o755 },
        { name: 'etc/', type: '5', mode: 0o755 },
        { name: 'etc/passwd', content: 'web:x:33:44::/:/bin/sh\n' },
      )
      const config = {
        Entrypoint: ['/bin/busybox', 'sh', '-c'],
        Cmd: ['/bin/busybox id; /bin/busybox pwd; echo $A'],
        User: 'web',
        WorkingDir: '/srv/www',
        Env: ['A=from image'],
      }
      layout.finish(tagged(layout.image([layer], { config }), 'v1'))
      const { stdout, stderr } = await box.run(`oci:${layout.path}:v1`)
      expect([stdout, stderr]).toEqual(['uid=33(web) gid=44 groups=44\n/srv/www\nfrom image\n', ''])
      const other = await box.run('--entrypoint', '/bin/busybox', layout.path, 'echo', 'own')
      expect(other.stdout).toBe('own\n')
      expect(await box.run(`oci:${layout.path}:nosuch`)).toMatchObject({ status: 125 })
    },
    ['command busybox'],
  )
})

describe('names and ids of berth run', () => {
  engineTest('ten runs at once all succeed, with a range of ids each', async box => {
    const gate = box.path('gate')
    mkdirSync(gate)
    // Each waits until all are there, so that they do run at once.
    const script =
      'touch /gate/$HOSTNAME; until [ "$(ls /gate | wc -l)" = 10 ]; do sleep 0.05; done; cat /proc/self/uid_map'
    const runs = Array.from({ length: 10 }, () => box.sh(['-v', `${gate}:/gate`], script))
    const outcomes = await Promise.all(runs)
    expect(outcomes.map(({ status, stderr }) => `${status}${stderr}`)).toEqual(Array(10).fill('0'))
    expect(new Set(outcomes.map(({ stdout }) => stdout)).size).toBe(10)
  })

  engineTest('--name is taken until rm, --cidfile until it is removed', async box => {
    const cid = box.path('cid')
    const first = await box.berth(['run', '--name', 'web', '--cidfile', cid, '-l', 'a=b', 'host', 'sh', '-c', 'exit 3'])
    expect(first.status).toBe(3)
    const id = readFileSync(cid, 'utf8')
    expect(id).toMatch(/^[0-9a-f]{64}$/)
    const again = await box.berth(['run', '--name', 'web', 'host', 'true'])
    expect(again).toMatchObject({ status: 125 })
    expect(again.stderr).toBe(`berth: Cannot create container: the name "web" is in use by container ${id}\n`)
    expect((await box.run('--cidfile', cid, 'host', 'true')).stderr).toContain('it exists')
    expect((await box.berth(['ps'])).stdout.split('\n')).toHaveLength(2)
    const [listed] = JSON.parse((await box.berth(['ps', '-a', '--json'])).stdout) as [Readonly<Record<string, unknown>>]
    expect(listed).toMatchObject({ id, name: 'web', exitCode: 3, status: 'stopped', labels: { a: 'b' } })
    expect(await box.berth(['rm', id.slice(0, 6)])).toMatchObject({ status: 0 })
    expect(await box.berth(['rm', 'web'])).toEqual({
      status: 1,
      stdout: '',
      stderr: 'berth: Cannot find container "web": no such container\n',
    })
  })

  engineTest('--cidfile that can not be written, or of a container that was not made, leaves nothing', async box => {
    expect(await box.run('--cidfile', box.path('no/cid'), 'host', 'true')).toMatchObject({ status: 125 })
    expect(await box.run('--cidfile', box.path('cid'), '-u', 'nosuch', 'host', 'true')).toMatchObject({ status: 125 })
    expect(existsSync(box.path('cid'))).toBe(false)
  })
})

describe('berth explain run', () => {
  engineTest('prints the plan with the options in it, and makes nothing', async box => {
    const before = readdirSync(box.base, { recursive: true }).toSorted()
    const options = ['--hostname', 'ship', '--tmpfs', '/scratch', '-v', `${box.base}:/base:ro`]
    const { status, stdout, stderr } = await box.berth(['explain', 'run', ...options, 'host', 'sh', '-c', 'true'])
    expect([status, stderr]).toEqual([0, ''])
    for (const each of ['ship', '/scratch', '/base', 'execve(']) expect(stdout).toContain(each)
    const made = await box.berth(['explain', 'run', '-v', `${box.path('nosuch')}:/x`, 'host'])
    expect([made.status, made.stdout.includes(`open_tree(AT_FDCWD, "${box.path('nosuch')}"`)]).toEqual([0, true])
    expect(readdirSync(box.base, { recursive: true }).toSorted()).toEqual(before)
  })

  engineTest('a command that has no use for --root refuses it', async box => {
    expect((await box.berth(['ns'])).stderr).toBe(
      'berth: Cannot use --root, --run-root, --storage-driver, --policy and --keep-free with "ns": it has no containers of the engine; see "berth --help"\n',
    )
  })
})

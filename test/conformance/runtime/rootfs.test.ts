/** `root`, names, default filesystems and devices, hidden paths, seen from inside. */

import { describe, expect } from 'bun:test'
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { waitFor } from './box.ts'
import { conforms } from './harness.ts'
import { mountAt } from './mountinfo.ts'

const PRIVATE_PARENT = 'runc makes the mount of the bundle private first'

describe('root', () => {
  conforms('root.path is the root, and nothing of the host is above it', async box => {
    expect(await box.see('ls /; ls /../..; cat /data/file')).toBe(
      'bin\ndata\ndev\netc\nhome\nmnt\nproc\nsys\ntmp\nbin\ndata\ndev\netc\nhome\nmnt\nproc\nsys\ntmp\ncontent',
    )
    const mounts = await box.see(['cat', '/proc/self/mountinfo'])
    expect(mounts.split('\n').filter(line => line.split(' ')[4]?.startsWith('/..'))).toEqual([])
  })

  conforms('root.path may be absolute; one that is no directory is an error', async box => {
    expect(await box.see(['cat', '/data/file'], { root: { path: box.rootfs } })).toBe('content')
    expect(await box.refusal(['true'], { root: { path: 'nosuch' } })).not.toBe('')
    writeFileSync(box.path('file'), '')
    expect(await box.refusal(['true'], { root: { path: 'file' } })).not.toBe('')
  })

  conforms('root.readonly makes the root read-only, but not the mounts in it', async box => {
    const script = '! touch /x 2>/dev/null && touch /dev/shm/x && echo rest'
    expect(await box.see(script, { root: { readonly: true } })).toBe('rest')
    expect(await box.see('touch /x && echo written')).toBe('written')
  })

  const PROPAGATIONS = [
    ['private', /^$/],
    ['rprivate', /^$/],
    ['shared', /^(shared:\d+|shared:\d+ master:\d+)$/],
    ['rshared', /^(shared:\d+|shared:\d+ master:\d+)$/],
    ['unbindable', /^unbindable$/],
    ['runbindable', /^unbindable$/],
  ] as const

  conforms(
    'linux.rootfsPropagation is the propagation of the root',
    async box => {
      for (const [rootfsPropagation, seen] of PROPAGATIONS) {
        const text = await box.see(['cat', '/proc/self/mountinfo'], { linux: { rootfsPropagation } })
        expect([rootfsPropagation, mountAt(text, '/').optionalFields.join(' ')]).toEqual([
          rootfsPropagation,
          expect.stringMatching(seen),
        ])
      }
    },
    { notOnRunc: PRIVATE_PARENT },
  )

  conforms(
    'linux.rootfsPropagation slave and rslave receive mounts of the host',
    async box => {
      for (const rootfsPropagation of ['slave', 'rslave'] as const) {
        rmSync(`${box.rootfs}/tmp/ready`, { force: true })
        mkdirSync(`${box.rootfs}/mnt/later`, { recursive: true })
        const root = box.rootfs
        box.enclose(`mount --bind "${root}" "${root}"; mount --make-shared "${root}"
        "$@" & child=$!
        ${waitFor(`${root}/tmp/ready`)}
        mount -t tmpfs later "${root}/mnt/later"; touch "${root}/mnt/later/arrived"; wait $child`)
        const script = `touch /tmp/ready; ${waitFor('/mnt/later/arrived')} && echo arrived`
        expect(await box.see(script, { linux: { rootfsPropagation } })).toBe('arrived')
      }
    },
    { notOnRunc: PRIVATE_PARENT },
  )

  conforms('linux.rootfsPropagation of an unknown kind is an error', async box => {
    expect(await box.refusal(['true'], { linux: { rootfsPropagation: 'sideways' as never } })).toContain('sideways')
  })
})

describe('names', () => {
  conforms('hostname is the name in a UTS namespace of the container’s own', async box => {
    expect(await box.see(['hostname'], { hostname: 'inside' })).toBe('inside')
    expect(hostname()).not.toBe('inside')
  })

  conforms(
    'domainname is the NIS domain name',
    async box => {
      expect(await box.see(['cat', '/proc/sys/kernel/domainname'], { domainname: 'example.test' })).toBe('example.test')
    },
    { notOnRunc: 'came with runc 1.2' },
  )

  conforms('hostname and domainname without a uts namespace are an error', async box => {
    const linux = { namespaces: [{ type: 'mount' }, { type: 'pid' }] as const }
    expect(await box.refusal(['true'], { hostname: 'x', linux })).toMatch(/hostname/i)
    if (box.runtime.name === 'berth')
      expect(await box.refusal(['true'], { hostname: '', domainname: 'x', linux })).toMatch(/domainname/)
  })
})

describe('what every container has', () => {
  conforms('the default filesystems can be had: proc, sysfs, devpts, tmpfs at /dev/shm', async box => {
    const text = await box.see(['cat', '/proc/self/mountinfo'])
    const types = ['/proc', '/sys', '/dev/pts', '/dev/shm'].map(path => mountAt(text, path).fstype)
    expect(types).toEqual(['proc', 'sysfs', 'devpts', 'tmpfs'])
  })

  conforms('the default devices are there: null zero full random urandom tty ptmx', async box => {
    const seen = await box.see('cd /dev; stat -c "%n %F %t:%T %a" null zero full random urandom tty; readlink ptmx')
    expect(seen.split('\n')).toEqual([
      'null character special file 1:3 666',
      'zero character special file 1:5 666',
      'full character special file 1:7 666',
      'random character special file 1:8 666',
      'urandom character special file 1:9 666',
      'tty character special file 5:0 666',
      'pts/ptmx',
    ])
    expect(
      await box.see('echo x > /dev/null; head -c 2 /dev/zero | wc -c; ! echo > /dev/full 2>/dev/null && echo full'),
    ).toBe('2\nfull')
  })

  conforms('the links of /dev are there: fd stdin stdout stderr', async box => {
    expect(await box.see('for i in fd stdin stdout stderr; do readlink /dev/$i; done; ')).toBe(
      '/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2',
    )
    // A socket, which is what Bun gives its children, can't be opened by its name.
    box.enclose('"$@" | cat')
    expect(await box.see('echo via > /dev/stdout')).toBe('via')
  })
})

describe('hidden paths', () => {
  conforms(
    'linux.maskedPaths are empty, files and directories alike, and one that is absent is no error',
    async box => {
      const linux = { maskedPaths: ['/data/file', '/data/below', '/nosuch', '/proc/version'] }
      expect(
        await box.see(
          'cat /data/file /proc/version | wc -c; ls /data/below | wc -l; ! touch /data/below/x 2>/dev/null',
          { linux },
        ),
      ).toBe('0\n0')
    },
  )

  conforms('linux.readonlyPaths can be read but not written, and one that is absent is no error', async box => {
    const linux = { readonlyPaths: ['/data/below', '/proc/sys', '/nosuch'] }
    const script =
      'cat /data/below/file; touch /data/x; ! touch /data/below/x 2>/dev/null && ! (echo x > /proc/sys/kernel/hostname) 2>/dev/null && echo refused'
    expect(await box.see(script, { linux })).toBe('below\nrefused')
  })

  conforms(
    'linux.maskedPaths and readonlyPaths that are relative are an error',
    async box => {
      expect(await box.refusal(['true'], { linux: { maskedPaths: ['proc/version'] } })).toContain('maskedPaths')
      expect(await box.refusal(['true'], { linux: { readonlyPaths: ['data'] } })).toContain('readonlyPaths')
    },
    { notOnRunc: 'it takes them' },
  )

  conforms('linux.maskedPaths of a symlink hides what it leads to inside, nothing outside', async box => {
    symlinkSync('/../../data/file', `${box.rootfs}/link`)
    expect(await box.see('cat /link | wc -c', { linux: { maskedPaths: ['/link'] } })).toBe('0')
  })
})

/** A device node of the host's, as nobody has it by accident. */
const FUSE = { path: '/dev/fuse', type: 'c', major: 10, minor: 229 } as const

describe('linux.devices', () => {
  conforms('linux.devices makes nodes of type c, u, b and p with mode and owner, also outside of /dev', async box => {
    const devices = [
      { ...FUSE, fileMode: 0o640, uid: 3, gid: 4 },
      { path: '/data/unbuffered', type: 'u', major: 1, minor: 5, fileMode: 0o600 },
      { path: '/dev/below/block', type: 'b', major: 7, minor: 0, fileMode: 0o660, uid: 0, gid: 6 },
      { path: '/dev/pipe', type: 'p', fileMode: 0o622, uid: 7, gid: 8 },
    ] as const
    const format = '"%n %F %t:%T %a %u %g"'
    const seen = await box.see(`stat -c ${format} ${devices.map(({ path }) => path).join(' ')}`, { linux: { devices } })
    expect(seen.split('\n')).toEqual([
      '/dev/fuse character special file a:e5 640 3 4',
      '/data/unbuffered character special file 1:5 600 0 0',
      '/dev/below/block block special file 7:0 660 0 6',
      '/dev/pipe fifo 0:0 622 7 8',
    ])
  })

  conforms(
    'linux.devices in a user namespace shows the host’s node',
    async box => {
      box.giveTo(200_000)
      const ids = [{ containerID: 0, hostID: 200_000, size: 65_536 }]
      const types = ['pid', 'network', 'ipc', 'uts', 'mount', 'user'] as const
      const linux = { uidMappings: ids, gidMappings: ids, namespaces: types.map(type => ({ type })), devices: [FUSE] }
      expect(await box.see('stat -c "%t:%T" /dev/fuse /dev/null; echo x > /dev/null', { linux })).toBe('a:e5\n1:3')
    },
    { needs: ['userns'] },
  )

  conforms(
    'linux.devices over a file that is another is an error',
    async box => {
      writeFileSync(`${box.rootfs}/data/node`, '')
      const refusal = box.refusal(['true'], { linux: { devices: [{ ...FUSE, path: '/data/node' }] } })
      expect(await refusal).toContain('/data/node')
    },
    { notOnRunc: 'it leaves the file there' },
  )

  conforms(
    'linux.devices without a number, or twice at one path, is an error',
    async box => {
      const refusal = (...devices: readonly object[]) => box.refusal(['true'], { linux: { devices: devices as never } })
      expect(await refusal({ path: '/dev/x', type: 'c' })).toContain('linux.devices')
      expect(await refusal(FUSE, FUSE)).toContain('/dev/fuse')
      expect(await refusal({ ...FUSE, type: 'q' })).toContain('type')
    },
    { notOnRunc: 'it takes them' },
  )
})

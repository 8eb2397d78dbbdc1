/** `mounts` of config.json, seen from inside. Source: runtime-spec › Mounts. */

import { describe, expect } from 'bun:test'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import type { Mount } from '../../../src/oci/runtime-spec.ts'
import { type Box, type Change, waitFor } from './box.ts'
import { conforms } from './harness.ts'
import { mountAt } from './mountinfo.ts'

const RECURSIVE = 'recursive attributes came with runc 1.2'
const IDMAPPED = 'idmapped mounts came with runc 1.2'

/** Options of a bind mount and what the mount then is. `!` before a word: it is not so. */
const ATTRIBUTES: readonly (readonly [options: string, seen: string])[] = [
  ['ro', 'ro'],
  ['rw', 'rw'],
  ['ro,rw', 'rw'],
  ['defaults', 'rw'],
  ['nosuid', 'nosuid'],
  ['nosuid,suid', '!nosuid'],
  ['nodev', 'nodev'],
  ['nodev,dev', '!nodev'],
  ['noexec', 'noexec'],
  ['noexec,exec', '!noexec'],
  ['nodiratime', 'nodiratime'],
  ['nodiratime,diratime', '!nodiratime'],
  ['noatime', 'noatime'],
  ['noatime,atime', '!noatime'],
  ['relatime', 'relatime'],
  ['relatime,norelatime', '!noatime'],
  ['strictatime', '!relatime'],
  ['nostrictatime', 'relatime'],
  ['ro,nosuid,nodev,noexec,noatime', 'ro nosuid nodev noexec noatime'],
]

/** The same for the whole tree below a mount. */
const RECURSIVE_ATTRIBUTES: readonly (readonly [options: string, seen: string])[] = [
  ['rro', 'ro'],
  ['rro,rrw', 'rw'],
  ['rnosuid', 'nosuid'],
  ['rnosuid,rsuid', '!nosuid'],
  ['rnodev', 'nodev'],
  ['rnodev,rdev', '!nodev'],
  ['rnoexec', 'noexec'],
  ['rnoexec,rexec', '!noexec'],
  ['rnodiratime', 'nodiratime'],
  ['rnodiratime,rdiratime', '!nodiratime'],
  ['rnoatime', 'noatime'],
  ['rnoatime,ratime', '!noatime'],
  ['rrelatime', 'relatime'],
  ['rrelatime,rnorelatime', '!noatime'],
  ['rstrictatime', '!relatime'],
  ['rnostrictatime', 'relatime'],
  ['rnosymfollow', 'nosymfollow'],
  ['rnosymfollow,rsymfollow', '!nosymfollow'],
]

/** Options of the filesystem and what mountinfo's last column then has. */
const SUPERBLOCK: readonly (readonly [options: string, seen: string])[] = [
  ['sync', 'sync'],
  ['sync,async', '!sync'],
  ['dirsync', 'dirsync'],
  ['lazytime', 'lazytime'],
  ['lazytime,nolazytime', '!lazytime'],
  ['nomand', '!mand'],
  ['loud', 'rw'],
  ['silent', 'rw'],
  ['silent,loud', 'rw'],
  ['iversion', 'rw'],
  ['noiversion', 'rw'],
  ['size=64k,mode=700', 'size=64k mode=700'],
]

const PROPAGATION: readonly (readonly [option: string, seen: RegExp])[] = [
  ['private', /^$/],
  ['rprivate', /^$/],
  ['shared', /^shared:\d+$/],
  ['rshared', /^shared:\d+$/],
  ['unbindable', /^unbindable$/],
  ['runbindable', /^unbindable$/],
]

const ADMIN = { bounding: ['CAP_SYS_ADMIN'], effective: ['CAP_SYS_ADMIN'], permitted: ['CAP_SYS_ADMIN'] }

function bind(box: Box, options: string, destination: string, source = 'source'): Mount {
  mkdirSync(box.path(source), { recursive: true })
  return { destination, type: 'bind', source: box.path(source), options: options.split(',') }
}

/** What a mount has that it should not have, or the other way round. */
function differences(has: readonly string[], seen: string): string[] {
  return seen.split(' ').filter(word => (word.startsWith('!') ? has.includes(word.slice(1)) : !has.includes(word)))
}

/** Mounts a tree on the host side, in a mount namespace that ends with the command: `source` with a tmpfs in `below`. */
function withTree(box: Box): void {
  mkdirSync(box.path('source'), { recursive: true })
  box.enclose(`mount -t tmpfs tree "${box.path('source')}"; mkdir "${box.path('source')}/below"
    mount -t tmpfs below "${box.path('source')}/below"; exec "$@"`)
}

describe('mounts', () => {
  conforms('mounts appear in the order of the list, each with its type, source and destination', async box => {
    const text = await box.see(['cat', '/proc/self/mountinfo'], {
      mounts: [
        { destination: '/mnt', type: 'tmpfs', source: 'first' },
        { destination: '/mnt/a', type: 'tmpfs', source: 'second' },
        bind(box, 'bind', '/mnt/a/b'),
        { destination: '/new/place', type: 'tmpfs', source: 'made' },
      ],
    })
    const kind = (path: string) => [mountAt(text, path).fstype, mountAt(text, path).source]
    expect([kind('/mnt'), kind('/mnt/a'), kind('/new/place')]).toEqual([
      ['tmpfs', 'first'],
      ['tmpfs', 'second'],
      ['tmpfs', 'made'],
    ])
    // In another order the first would cover the others.
    expect(mountAt(text, '/mnt/a/b').parentId).toBe(mountAt(text, '/mnt/a').mountId)
    expect(mountAt(text, '/mnt/a').parentId).toBe(mountAt(text, '/mnt').mountId)
  })

  conforms('mounts.destination that is relative is read as one from /', async box => {
    const mounts = [{ destination: 'mnt', type: 'tmpfs', source: 't' }]
    expect((await box.run(['cat', '/proc/self/mountinfo'], { mounts })).stdout).toContain(' /mnt ')
  })

  conforms('mounts.source that is relative is read as one from the bundle', async box => {
    mkdirSync(box.path('near'))
    writeFileSync(box.path('near/file'), 'near\n')
    const mounts = [{ destination: '/mnt', type: 'bind', source: 'near', options: ['bind'] }]
    expect(await box.see(['cat', '/mnt/file'], { mounts })).toBe('near')
  })

  conforms('mounts of a file, and of a directory over a symlink, stay inside the root', async box => {
    writeFileSync(box.path('single'), 'single\n')
    symlinkSync('/../../../../etc', `${box.rootfs}/link`)
    const mounts: Mount[] = [
      { destination: '/data/new-file', type: 'bind', source: box.path('single'), options: ['bind', 'ro'] },
      { destination: '/link', type: 'tmpfs', source: 'covers-etc' },
    ]
    const seen = await box.see('cat /data/new-file; ls /etc; grep covers-etc /proc/self/mountinfo | cut -d" " -f5', {
      mounts,
    })
    expect(seen).toBe('single\n/etc')
  })

  conforms('mounts.source that is absent on the host is an error', async box => {
    const mounts = [{ destination: '/mnt', type: 'bind', source: box.path('nosuch'), options: ['bind'] }]
    expect(await box.refusal(['true'], { mounts })).toContain('nosuch')
  })

  conforms('mounts.type that the kernel does not know is an error', async box => {
    const mounts = [{ destination: '/mnt', type: 'nosuchfs', source: 'x' }]
    expect(await box.refusal(['true'], { mounts })).toMatch(/nosuchfs|no such device/)
  })

  conforms(
    'mounts.options that set the attributes of one mount: ro rw suid dev exec atime and their opposites',
    async box => {
      const mounts = ATTRIBUTES.map(([options], index) => bind(box, `bind,${options}`, `/mnt/${index}`))
      const text = await box.see(['cat', '/proc/self/mountinfo'], { mounts })
      const wrong = ATTRIBUTES.map(([options, seen], index) => [
        options,
        differences(mountAt(text, `/mnt/${index}`).options, seen),
      ])
      expect(wrong.filter(([, words]) => words?.length !== 0)).toEqual([])
    },
  )

  conforms('mounts.options nosymfollow and symfollow', async box => {
    const mounts = [bind(box, 'bind,nosymfollow', '/mnt/a'), bind(box, 'bind,nosymfollow,symfollow', '/mnt/b')]
    symlinkSync('target', box.path('source/link'))
    writeFileSync(box.path('source/target'), '')
    expect(await box.see('cat /mnt/b/link && ! cat /mnt/a/link 2>&1', { mounts })).toMatch(/Too many|symbolic/)
  })

  conforms(
    'mounts.options with r in front set the attributes of a whole tree',
    async box => {
      withTree(box)
      const mounts = RECURSIVE_ATTRIBUTES.map(([options], index) => bind(box, `rbind,${options}`, `/mnt/${index}`))
      const text = await box.see(['cat', '/proc/self/mountinfo'], { mounts })
      const wrong = RECURSIVE_ATTRIBUTES.map(([options, seen], index) => [
        options,
        differences(mountAt(text, `/mnt/${index}`).options, seen),
        differences(mountAt(text, `/mnt/${index}/below`).options, seen),
      ])
      expect(wrong.filter(([, top, below]) => `${top}${below}` !== '')).toEqual([])
    },
    { notOnRunc: RECURSIVE },
  )

  conforms('mounts.options ro leaves the mounts below writable, rro does not', async box => {
    withTree(box)
    const mounts = [bind(box, 'rbind,ro', '/mnt/a'), bind(box, 'rbind,rro', '/mnt/b')]
    expect(await box.see('touch /mnt/a/below/x && ! touch /mnt/b/below/y 2>&1', { mounts })).toContain('Read-only')
  })

  conforms('mounts.options bind shows a directory alone, rbind with the mounts below it', async box => {
    withTree(box)
    const mounts = [bind(box, 'bind', '/mnt/a'), bind(box, 'rbind', '/mnt/b')]
    const text = await box.see(['cat', '/proc/self/mountinfo'], { mounts })
    expect(text).not.toContain(' /mnt/a/below ')
    expect(mountAt(text, '/mnt/b/below').source).toBe('below')
  })

  conforms(
    'mounts.options of the filesystem: sync async dirsync lazytime silent loud iversion and the type’s own',
    async box => {
      const mounts = SUPERBLOCK.map(([options], index) => ({
        destination: `/mnt/${index}`,
        type: 'tmpfs',
        source: 'tmpfs',
        options: options.split(','),
      }))
      const text = await box.see(['cat', '/proc/self/mountinfo'], { mounts })
      const wrong = SUPERBLOCK.map(([options, seen], index) => [
        options,
        differences(mountAt(text, `/mnt/${index}`).superOptions, seen),
      ])
      expect(wrong.filter(([, words]) => words?.length !== 0)).toEqual([])
    },
  )

  conforms('mounts.options mand and nomand are taken', async box => {
    const mounts = ['mand', 'nomand'].map(name => ({
      destination: `/mnt/${name}`,
      type: 'tmpfs',
      source: 't',
      options: [name],
    }))
    expect(await box.see(['true'], { mounts })).toBe('')
  })

  conforms('mounts.options that the filesystem does not know are an error', async box => {
    const mounts = [{ destination: '/mnt', type: 'tmpfs', source: 'tmpfs', options: ['nosuchoption=1'] }]
    expect(await box.refusal(['true'], { mounts })).toMatch(/mnt/)
  })

  conforms('mounts.options remount changes a mount that is there', async box => {
    const mounts: Mount[] = [
      { destination: '/mnt', type: 'tmpfs', source: 'tmpfs', options: ['size=64k'] },
      { destination: '/mnt', type: 'tmpfs', source: 'tmpfs', options: ['remount', 'ro', 'nosuid', 'size=128k'] },
    ]
    const { options, superOptions } = mountAt(await box.see(['cat', '/proc/self/mountinfo'], { mounts }), '/mnt')
    expect(differences(options, 'ro nosuid')).toEqual([])
    expect(superOptions).toContain('size=128k')
  })

  conforms('mounts.options remount of a bind mount changes its attributes', async box => {
    const mounts = [bind(box, 'bind', '/mnt'), bind(box, 'bind,remount,ro,noexec', '/mnt')]
    const { options } = mountAt(await box.see(['cat', '/proc/self/mountinfo'], { mounts }), '/mnt')
    expect(differences(options, 'ro noexec')).toEqual([])
  })

  conforms('mounts.options tmpcopyup fills a tmpfs with what the image has there', async box => {
    const mounts = [{ destination: '/data', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup', 'mode=755'] }]
    expect(await box.see('cat /data/file /data/below/file; echo changed > /data/file', { mounts })).toBe(
      'content\nbelow',
    )
    expect(readFileSync(`${box.rootfs}/data/file`, 'utf8')).toBe('content\n')
  })
})

describe('mounts.options that say how mounts propagate', () => {
  conforms('private shared unbindable and their recursive forms', async box => {
    const mounts = PROPAGATION.map(([option]) => bind(box, `bind,${option}`, `/mnt/${option}`, option))
    const text = await box.see(['cat', '/proc/self/mountinfo'], { mounts })
    for (const [option, seen] of PROPAGATION)
      expect([option, mountAt(text, `/mnt/${option}`).optionalFields.join(' ')]).toEqual([
        option,
        expect.stringMatching(seen),
      ])
  })

  conforms('slave and rslave receive what is mounted on the host', async box => {
    mkdirSync(box.path('source'))
    const source = box.path('source')
    box.enclose(`mount -t tmpfs tree "${source}"; mount --make-shared "${source}"; mkdir "${source}/later"
      "$@" & child=$!
      ${waitFor(`${box.rootfs}/tmp/ready`)}
      mount -t tmpfs later "${source}/later"; touch "${source}/later/arrived"; wait $child`)
    const mounts = [bind(box, 'bind,slave', '/mnt/a'), bind(box, 'rbind,rslave', '/mnt/b')]
    const wait = `for i in a b; do ${waitFor('/mnt/$i/later/arrived')} && echo $i; done`
    expect(await box.see(`touch /tmp/ready; ${wait}`, { mounts })).toBe('a\nb')
  })

  conforms('rshared lets the host see what the container mounts, private does not', async box => {
    for (const option of ['rshared', 'rprivate']) {
      const source = box.path('source')
      mkdirSync(source, { recursive: true })
      box.enclose(`mount -t tmpfs tree "${source}"; mount --make-shared "${source}"; mkdir "${source}/own"
        "$@"; grep -c "${source}/own" /proc/self/mountinfo; true`)
      const change: Change = {
        mounts: [bind(box, `rbind,${option}`, '/mnt')],
        process: { capabilities: ADMIN },
        linux: { rootfsPropagation: 'shared' },
      }
      const { stdout } = await box.run('mount -t tmpfs own /mnt/own', change)
      expect([option, stdout.trim()]).toEqual([option, option === 'rshared' ? '1' : '0'])
    }
  })
})

const IDS = [{ containerID: 0, hostID: 200_000, size: 65_536 }]
const NAMESPACES = ['pid', 'network', 'ipc', 'uts', 'mount'].map(type => ({ type: type as 'pid' }))

describe('mounts with an id mapping', () => {
  const needs = ['idmapped mounts'] as const

  conforms(
    'mounts.uidMappings and gidMappings with idmap shift owners, both ways',
    async box => {
      const mount = { ...bind(box, 'bind,idmap', '/mnt'), uidMappings: IDS, gidMappings: IDS }
      writeFileSync(box.path('source/file'), '')
      chmodSync(box.path('source'), 0o777)
      chownSync(box.path('source/file'), 5, 6)
      expect(
        await box.see('stat -c "%u %g" /mnt/file; touch /mnt/new', {
          mounts: [
            {
              ...mount,
              uidMappings: [{ containerID: 0, hostID: 1000, size: 100 }],
              gidMappings: [{ containerID: 0, hostID: 2000, size: 100 }],
            },
          ],
          process: { user: { uid: 1003, gid: 2004 } },
        }),
      ).toBe('1005 2006')
      expect([statSync(box.path('source/new')).uid, statSync(box.path('source/new')).gid]).toEqual([3, 4])
    },
    { notOnRunc: IDMAPPED, needs },
  )

  conforms(
    'mounts.options idmap and ridmap take the mappings of the container’s user namespace',
    async box => {
      withTree(box)
      const linux = { namespaces: [...NAMESPACES, { type: 'user' as const }], uidMappings: IDS, gidMappings: IDS }
      box.giveTo(200_000)
      const mounts = [bind(box, 'rbind,idmap', '/mnt/a'), bind(box, 'rbind,ridmap', '/mnt/b')]
      const seen = await box.see('stat -c %u /mnt/a /mnt/a/below /mnt/b /mnt/b/below', { mounts, linux })
      expect(seen.split('\n')).toEqual(['0', '65534', '0', '0'])
    },
    { notOnRunc: IDMAPPED, needs },
  )

  conforms(
    'mounts.options idmap without any mapping, and mappings without their pair, are an error',
    async box => {
      expect(await box.refusal(['true'], { mounts: [bind(box, 'bind,idmap', '/mnt')] })).toContain('mounts')
      const lone = { ...bind(box, 'bind,idmap', '/mnt'), uidMappings: IDS }
      expect(await box.refusal(['true'], { mounts: [lone] })).toContain('gidMappings')
    },
    { notOnRunc: IDMAPPED },
  )

  conforms(
    'files of a source are never given other owners',
    async box => {
      const mounts = [{ ...bind(box, 'bind,idmap', '/mnt'), uidMappings: IDS, gidMappings: IDS }]
      writeFileSync(box.path('source/file'), '')
      await box.see(['true'], { mounts })
      expect(readdirSync(box.path('source')).map(name => statSync(box.path(`source/${name}`)).uid)).toEqual([0])
    },
    { notOnRunc: IDMAPPED, needs },
  )
})

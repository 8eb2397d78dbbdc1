import { describe, expect, test } from 'bun:test'
import * as f from './mount-flags.ts'
import {
  knownMountOptions,
  type MountOptions,
  mountFlagsOf,
  parseMountOptions,
  parsePropagation,
} from './mount-options.ts'

const SPEC_OPTIONS = `async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev
  nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev
  rdiratime relatime remount rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro
  rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime
  suid symfollow sync tmpcopyup unbindable idmap ridmap`.split(/\s+/)

const NOTHING: MountOptions = {
  bind: false,
  recursiveBind: false,
  remount: false,
  attrSet: 0,
  attrClear: 0,
  recursiveAttrSet: 0,
  recursiveAttrClear: 0,
  propagation: [],
  idmap: null,
  tmpcopyup: false,
  superblockFlags: 0,
  superblockOptions: [],
  data: [],
}

const ATIME = f.MOUNT_ATTR__ATIME

describe('parseMountOptions()', () => {
  test('knows every option name of the spec', () => {
    for (const name of SPEC_OPTIONS) {
      expect([name, knownMountOptions().includes(name), parseMountOptions([name]).data]).toEqual([name, true, []])
    }
  })

  const table: readonly (readonly [options: string, expected: Partial<MountOptions>])[] = [
    ['', {}],
    ['defaults', {}],
    ['bind', { bind: true }],
    ['rbind,rprivate', { bind: true, recursiveBind: true, propagation: [f.MS_PRIVATE | f.MS_REC] }],
    ['slave,shared', { propagation: [f.MS_SLAVE, f.MS_SHARED] }],
    ['ro,nosuid', { attrSet: f.MOUNT_ATTR_RDONLY | f.MOUNT_ATTR_NOSUID }],
    ['ro,rw', { attrClear: f.MOUNT_ATTR_RDONLY }],
    ['rw,ro', { attrSet: f.MOUNT_ATTR_RDONLY }],
    ['rro', { recursiveAttrSet: f.MOUNT_ATTR_RDONLY }],
    ['rdev,rexec', { recursiveAttrClear: f.MOUNT_ATTR_NODEV | f.MOUNT_ATTR_NOEXEC }],
    ['noatime', { attrSet: f.MOUNT_ATTR_NOATIME, attrClear: ATIME }],
    ['noatime,relatime', { attrClear: ATIME }],
    ['noatime,strictatime', { attrSet: f.MOUNT_ATTR_STRICTATIME, attrClear: ATIME }],
    ['noatime,norelatime', { attrSet: f.MOUNT_ATTR_NOATIME, attrClear: ATIME }],
    ['rnoatime,ratime', { recursiveAttrClear: ATIME }],
    ['nodiratime', { attrSet: f.MOUNT_ATTR_NODIRATIME }],
    ['rnosymfollow', { recursiveAttrSet: f.MOUNT_ATTR_NOSYMFOLLOW }],
    ['sync', { superblockFlags: f.MS_SYNCHRONOUS, superblockOptions: ['sync'] }],
    ['sync,async', { superblockOptions: ['async'] }],
    ['silent,iversion', { superblockFlags: f.MS_SILENT | f.MS_I_VERSION }],
    ['ridmap', { idmap: 'ridmap' }],
    ['size=1m,mode=755,tmpcopyup', { data: ['size=1m', 'mode=755'], tmpcopyup: true }],
    ['acl,__proto__', { data: ['acl', '__proto__'] }],
  ]
  test.each(table)('reads %p', (options, expected) => {
    expect(parseMountOptions(options.split(',').filter(option => option !== ''))).toEqual({ ...NOTHING, ...expected })
  })
})

test('mountFlagsOf() gives the flags of mount(2)', () => {
  const flagsOf = (...options: string[]) => mountFlagsOf(parseMountOptions(options))
  expect(flagsOf('rbind', 'ro', 'nosuid')).toBe(f.MS_BIND | f.MS_REC | f.MS_RDONLY | f.MS_NOSUID)
  expect(flagsOf('relatime', 'sync')).toBe(f.MS_RELATIME | f.MS_SYNCHRONOUS)
  expect(flagsOf('strictatime')).toBe(f.MS_STRICTATIME)
  expect(flagsOf('remount', 'rshared')).toBe(f.MS_REMOUNT)
})

test('parsePropagation() reads the types with and without r', () => {
  expect(parsePropagation('rslave')).toBe(f.MS_SLAVE | f.MS_REC)
  expect(parsePropagation('private')).toBe(f.MS_PRIVATE)
  expect(parsePropagation('rrslave')).toBeUndefined()
  expect(parsePropagation('')).toBeUndefined()
})

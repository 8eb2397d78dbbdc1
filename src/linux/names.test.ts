import { describe, expect, test } from 'bun:test'
import { constants } from 'node:os'
import {
  CAPABILITIES,
  type Capability,
  capabilityMask,
  capabilityNames,
  DOCKER_DEFAULT_CAPABILITIES,
  parseCapability,
} from './capabilities.ts'
import { CGROUP2_SUPER_MAGIC, fsMagicName } from './fs-magic.ts'
import {
  NAMESPACES,
  namespaceOfCloneFlag,
  namespaceOfProcName,
  namespaceOfType,
  parseNamespaceLink,
} from './namespaces.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, openFlagsOf } from './open-flags.ts'
import { parseRlimit, RLIMITS, rlimitName, rlimitNumber } from './rlimits.ts'
import { parseSignal, SIGNALS, signalName } from './signals.ts'

describe('capabilities', () => {
  test('there are 41, the last is CAP_CHECKPOINT_RESTORE', () => {
    expect(CAPABILITIES.length).toBe(41)
    expect(CAPABILITIES[40]).toBe('CAP_CHECKPOINT_RESTORE')
    expect(CAPABILITIES[21]).toBe('CAP_SYS_ADMIN')
  })
  test("capabilityMask() of Docker's 14 is the mask Docker containers show", () => {
    expect(DOCKER_DEFAULT_CAPABILITIES.length).toBe(14)
    expect(capabilityMask(DOCKER_DEFAULT_CAPABILITIES)).toBe(0xa80425fbn)
  })
  test('capabilityNames() inverts capabilityMask() and names newer bits by number', () => {
    expect(capabilityNames(capabilityMask(CAPABILITIES)) as readonly Capability[]).toEqual(CAPABILITIES)
    expect(capabilityNames(1n << 41n)).toEqual(['CAP_41'])
  })
  test.each(['net_admin', 'NET_ADMIN', 'cap_net_admin', 'CAP_NET_ADMIN'])('parseCapability() reads %p', text => {
    expect(parseCapability(text)).toBe('CAP_NET_ADMIN')
  })
  test.each(['', 'ALL', 'CAP_', 'CAP_CAP_KILL', 'kil l'])('parseCapability() refuses %p', text => {
    expect(parseCapability(text)).toBeUndefined()
  })
})

describe('signals', () => {
  test('SIGNALS agrees with what this system calls its signals', () => {
    for (const [name, number] of Object.entries(constants.signals))
      expect([name, parseSignal(name)]).toEqual([name, number])
    expect(SIGNALS.SIGKILL).toBe(9)
  })
  const good: readonly (readonly [text: string, number: number])[] = [
    ['KILL', 9],
    ['sigkill', 9],
    ['9', 9],
    ['64', 64],
    ['RTMIN', 34],
    ['SIGRTMIN+3', 37],
    ['rtmax-1', 63],
    ['RTMAX', 64],
  ]
  test.each(good)('parseSignal() reads %p', (text, number) => {
    expect(parseSignal(text)).toBe(number)
  })
  test.each(['', '0', '65', '-9', 'SIG', 'KILLED', 'RTMIN+31', 'RTMAX-31', 'RTMIN-1', '9 ', 'constructor'])(
    'parseSignal() refuses %p',
    text => {
      expect(() => parseSignal(text)).toThrow('Cannot parse signal')
    },
  )
  test('parseSignal() reads whatever signalName() writes', () => {
    for (let number = 1; number <= 64; number += 1) {
      if (number !== 32 && number !== 33) expect(parseSignal(signalName(number))).toBe(number)
    }
  })
})

test('parseRlimit() reads any spelling of all 16 limits', () => {
  expect(RLIMITS.length).toBe(16)
  expect(rlimitNumber('RLIMIT_RTTIME')).toBe(15)
  for (const name of RLIMITS) {
    expect(parseRlimit(name.slice('RLIMIT_'.length).toLowerCase())).toBe(name)
    expect(rlimitName(rlimitNumber(name))).toBe(name)
  }
  expect(parseRlimit('files')).toBeUndefined()
})

test('namespaces are found by type, /proc name and clone flag', () => {
  expect(NAMESPACES.length).toBe(8)
  for (const namespace of NAMESPACES) {
    expect(namespaceOfType(namespace.type)).toBe(namespace)
    expect(namespaceOfProcName(namespace.procName)).toBe(namespace)
    expect(namespaceOfCloneFlag(namespace.cloneFlag)).toBe(namespace)
  }
  expect(namespaceOfProcName('pid_for_children')?.type).toBe('pid')
  expect(parseNamespaceLink('mnt:[4026531840]')).toEqual({ type: 'mount', inode: 4026531840 })
  expect(parseNamespaceLink('/proc/1/ns/mnt')).toBeUndefined()
})

test('openFlagsOf() renumbers the four flags of arm64', () => {
  expect(openFlagsOf('x64', O_DIRECTORY | O_PATH)).toBe(O_DIRECTORY | O_PATH)
  expect(openFlagsOf('arm64', O_DIRECTORY | O_NOFOLLOW | O_PATH)).toBe(0o40000 | 0o100000 | O_PATH)
})

test('fsMagicName() takes a sign-extended number', () => {
  expect(fsMagicName(CGROUP2_SUPER_MAGIC)).toBe('cgroup2')
  expect(fsMagicName(0x9123683e | 0)).toBe('btrfs')
  expect(fsMagicName(1)).toBe('fs 0x1')
})

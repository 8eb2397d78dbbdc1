import { describe, expect, test } from 'bun:test'
import { composed, hostFacts, type SpecParts, USER_NAMESPACE } from '../../test/support/composed-container.ts'
import { printed } from '../../test/support/plan-steps.ts'

const HIDDEN: SpecParts = {
  linux: {
    ...USER_NAMESPACE,
    maskedPaths: ['/proc/kcore', '/proc/acpi'],
    readonlyPaths: ['/proc/sys', '/proc/irq'],
    sysctl: { 'net.ipv4.ip_forward': '1' },
  },
}

describe('composePaths()', () => {
  test('makes paths read-only and hides others, by fds that no path of the container leads to (CVE-2025-31133)', () => {
    const { host, child } = composed(HIDDEN)
    expect(printed(host).filter(line => line.includes('@null'))).toEqual([
      'open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = @null',
      'check_type(@null, S_IFCHR, 1, 3)',
    ])
    expect(printed(child, 'readonly_path', 'mask')).toEqual([
      'readonly_path(@root, "/proc/sys")',
      'readonly_path(@root, "/proc/irq")',
      'mask(@root, "/proc/kcore", @empty directory, @null)',
      'mask(@root, "/proc/acpi", @empty directory, @null)',
    ])
  })

  test('goes on where a path is not there', () => {
    const { child } = composed(HIDDEN)
    const tolerated = (op: string) => child.find(each => each.op === op)?.tolerate
    expect([tolerated('readonly_path'), tolerated('mask')]).toEqual([
      [2, 20],
      [2, 20, 13],
    ])
  })

  test('does so before the root is entered, when the fds still count from the root', () => {
    const ops = composed(HIDDEN).child.map(({ op }) => op)
    expect(ops.lastIndexOf('mask')).toBeLessThan(ops.indexOf('fchdir'))
  })

  test('takes /dev/null in the child where the launcher has no privileges', () => {
    const { host, child } = composed(HIDDEN, { facts: hostFacts({ privileged: false }) })
    expect(printed(host, 'open_tree')).toEqual([])
    expect(printed(child).some(line => line.endsWith('= @null'))).toBe(true)
  })

  test('makes no fds for nothing', () => {
    expect(printed(composed().child, 'mask', 'readonly_path', 'mount_fs')).toEqual([])
  })
})

describe('composeSysctl()', () => {
  test('writes through the procfs of the host, after the root was entered', () => {
    expect(printed(composed(HIDDEN).child).at(-1)).toBe(
      'write_checked(@proc of the host, "sys/net/ipv4/ip_forward", proc, "1")',
    )
  })
})

describe('composeHostname()', () => {
  test('sets the names that are given', () => {
    const named = composed({ hostname: 'h', domainname: 'd' }).child
    expect(printed(named, 'sethostname', 'setdomainname')).toEqual(['sethostname("h")', 'setdomainname("d")'])
    expect(printed(composed({ hostname: '' }).child, 'sethostname', 'setdomainname')).toEqual([])
  })
})

import { expect } from 'bun:test'
import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { testIf } from '../support/requirement.ts'

const inVm = testIf('vm')

inVm('the virtual machine has kernel 6.1', () => {
  expect(release()).toStartWith('6.1.')
})

inVm('the virtual machine has cgroup v2 alone, with all the controllers Berth uses', () => {
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(' - cgroup ')
  const controllers = readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').trim().split(' ')
  expect(controllers).toEqual(expect.arrayContaining(['cpu', 'cpuset', 'hugetlb', 'io', 'memory', 'pids']))
})

inVm('the virtual machine gives all 41 capabilities', () => {
  expect(readFileSync('/proc/self/status', 'utf8')).toContain('CapEff:\t000001ffffffffff')
})

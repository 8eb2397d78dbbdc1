import { expect, test } from 'bun:test'
import { ioPriorityValue } from './io-priority.ts'
import { memoryPolicyArguments } from './memory-policy.ts'
import { packSchedAttr } from './scheduler.ts'

test('packSchedAttr() lays out struct sched_attr', () => {
  const bytes = packSchedAttr({
    policy: 'SCHED_DEADLINE',
    flags: ['SCHED_FLAG_RESET_ON_FORK', 'SCHED_FLAG_RECLAIM'],
    nice: -5,
    runtime: 1n,
    deadline: 2n,
    period: 0xffff_ffff_ffff_ffffn,
  })
  const view = new DataView(bytes.buffer)
  expect(bytes.length).toBe(48)
  expect([view.getUint32(0, true), view.getUint32(4, true), view.getInt32(16, true)]).toEqual([48, 6, -5])
  expect([8, 24, 32, 40].map(offset => view.getBigUint64(offset, true))).toEqual([3n, 1n, 2n, 0xffff_ffff_ffff_ffffn])
})

test('packSchedAttr() has room for the utilization clamps only when they are asked for', () => {
  expect(packSchedAttr({ policy: 'SCHED_FIFO', priority: 9 })[20]).toBe(9)
  expect(packSchedAttr({ policy: 'SCHED_OTHER', flags: ['SCHED_FLAG_UTIL_CLAMP_MAX'] }).length).toBe(56)
})

test('ioPriorityValue() puts the class above bit 13', () => {
  expect(ioPriorityValue('IOPRIO_CLASS_BE', 4)).toBe(0x4004)
})

test('memoryPolicyArguments() gives mode with flags, the mask and how many bits it has', () => {
  expect(memoryPolicyArguments('MPOL_BIND', ['MPOL_F_STATIC_NODES'], '0-1')).toEqual({
    mode: 0x8002,
    nodes: new Uint8Array([3, 0, 0, 0, 0, 0, 0, 0]),
    nodeCount: 64,
  })
  expect(memoryPolicyArguments('MPOL_LOCAL', [], '')).toEqual({ mode: 4, nodes: new Uint8Array(), nodeCount: 0 })
})

import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { parseProcStat, parseProcStatus } from './proc-stat.ts'

const TAIL = '7 8 9 0 -1 4194560 1 0 0 0 11 12 0 0 20 0 1 0 4242 5 6 18446744073709551615'

test('parseProcStat() reads a name of any form, also one that imitates the rest of the line', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.constant(') R 1 (x'), fc.constant('a b) ')), comm => {
      expect(parseProcStat(`42 (${comm}) S ${TAIL}\n`)).toEqual({
        pid: 42,
        comm,
        state: 'S',
        ppid: 7,
        pgrp: 8,
        session: 9,
        utimeTicks: 11,
        stimeTicks: 12,
        startTimeTicks: 4242,
      })
    }),
  )
})

test('parseProcStat() reads this process', () => {
  const stat = parseProcStat(readFileSync('/proc/self/stat', 'utf8'))
  expect(stat.pid).toBe(process.pid)
  expect(stat.ppid).toBe(process.ppid)
  expect(stat.startTimeTicks).toBeGreaterThan(0)
})

test.each(['', '42', '42 (x) S 1 2', 'S 1'])('parseProcStat() refuses %p', text => {
  expect(() => parseProcStat(text)).toThrow('Cannot parse process status')
})

test('parseProcStatus() splits the lines of this process', () => {
  const status = parseProcStatus(readFileSync('/proc/self/status', 'utf8'))
  expect(status.get('Pid')).toBe(String(process.pid))
  expect(status.get('CapEff')).toMatch(/^[0-9a-f]{16}$/)
})

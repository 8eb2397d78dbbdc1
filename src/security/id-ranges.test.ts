import { expect, test } from 'bun:test'
import { allocateRange, rangeIds, rootlessIds } from './id-ranges.ts'

const USER = { name: 'anna', uid: 1000, gid: 1001 }

test('allocateRange() passes over ranges of other containers and of users', () => {
  const first = allocateRange(new Set(), [])
  expect(allocateRange(new Set([first.start]), []).start).toBe(first.start + first.size)
  expect(allocateRange(new Set(), [{ start: first.start + 10, size: 1 }]).start).toBe(first.start + first.size)
})

test('rangeIds() maps the same range for users and groups', () => {
  const mappings = [{ containerID: 0, hostID: 1_400_000, size: 65_536 }]
  expect(rangeIds({ start: 1_400_000, size: 65_536 })).toEqual({ uidMappings: mappings, gidMappings: mappings })
})

test('rootlessIds() makes the user root and his subordinate ids all others', () => {
  expect(rootlessIds(USER, 'bob:5:5\nanna:100000:65536\n', '1000:300000:10\nanna:200000:20\n')).toEqual({
    uidMappings: [
      { containerID: 0, hostID: 1000, size: 1 },
      { containerID: 1, hostID: 100_000, size: 65_535 },
    ],
    gidMappings: [
      { containerID: 0, hostID: 1001, size: 1 },
      { containerID: 1, hostID: 300_000, size: 10 },
      { containerID: 11, hostID: 200_000, size: 20 },
    ],
  })
})

test('rootlessIds() throws when a file grants the user nothing', () => {
  expect(() => rootlessIds(USER, 'annabel:1:5\n', 'anna:1:5\n')).toThrow(
    'Cannot map ids for user "anna": /etc/subuid gives him none',
  )
  expect(() => rootlessIds(USER, 'anna:1:5\n', '')).toThrow('/etc/subgid gives him none')
})

import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { allocateRange, type IdRange, parseGranted, rangeIds, rootlessIds } from './id-ranges.ts'

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

test('allocateRange() never returns a range that overlaps another, whatever was granted', () => {
  const granted = fc.array(
    fc.record({ start: fc.integer({ min: 1_000_000, max: 3_000_000 }), size: fc.integer({ min: 1, max: 200_000 }) }),
    { maxLength: 5 },
  )
  fc.assert(
    fc.property(granted, fc.integer({ min: 1, max: 30 }), (others, count) => {
      const taken: IdRange[] = [...others]
      const used = new Set<number>()
      for (let index = 0; index < count; index++) {
        const range = allocateRange(used, others)
        for (const other of taken)
          expect(range.start >= other.start + other.size || other.start >= range.start + range.size).toBe(true)
        expect(range.start).toBeGreaterThan(1_000_000)
        used.add(range.start)
        taken.push(range)
      }
    }),
    { numRuns: 50 },
  )
})

test('allocateRange() ends below the id that means "no change", and throws when all are in use', () => {
  const used = new Set<number>()
  let last = 0
  for (let start = allocateRange(used, []).start; start + 65_536 <= 0xffff_fffe; start += 65_536) {
    used.add(start)
    last = start
  }
  used.delete(last)
  expect(allocateRange(used, [])).toEqual({ start: last, size: 65_536 })
  used.add(last)
  expect(() => allocateRange(used, [])).toThrow('Cannot allocate ids for the container: every range is in use')
  expect(() => allocateRange(new Set(), [{ start: 0, size: 2 ** 32 }])).toThrow('every range is in use')
})

test('parseGranted() reads the lines of subuid(5) and passes over others', () => {
  expect(parseGranted('anna:100000:65536\n\n# comment\nbob:x:5\nbob:1.5:5\n1000:7:8\ncarl:9')).toEqual([
    { start: 100_000, size: 65_536 },
    { start: 7, size: 8 },
  ])
})

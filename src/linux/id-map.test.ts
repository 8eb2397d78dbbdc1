import { expect, test } from 'bun:test'
import { formatIdMap, idIsMapped, idMapProblem, mapToHost, parseIdMap } from './id-map.ts'

const map = [
  { containerID: 0, hostID: 1000, size: 1 },
  { containerID: 1, hostID: 100_000, size: 65_535 },
]

test('mapToHost() adds the offset of the mapping that holds the id, and is undefined outside of all', () => {
  expect([0, 1, 65_535].map(id => mapToHost(map, id))).toEqual([1000, 100_000, 165_534])
  expect(mapToHost(map, 65_536)).toBeUndefined()
  expect(idIsMapped(map, 65_535)).toBe(true)
})

test('parseIdMap() reads what formatIdMap() writes, and the kernel form', () => {
  expect(parseIdMap(formatIdMap(map))).toEqual(map)
  expect(parseIdMap('         0          0 4294967295\n')).toEqual([{ containerID: 0, hostID: 0, size: 4294967295 }])
  expect(() => parseIdMap('0 0')).toThrow('Cannot parse id map line')
})

test('idMapProblem() names empty, overlong and overlapping mappings and too many', () => {
  const mapping = (containerID: number, hostID: number, size: number) => ({ containerID, hostID, size })
  expect(idMapProblem(map)).toBeUndefined()
  expect(idMapProblem([mapping(0, 0, 4294967295)])).toBeUndefined()
  expect(idMapProblem([mapping(0, 0, 0)])).toContain('is empty')
  expect(idMapProblem([mapping(0, 1, 4294967295)])).toContain('beyond id')
  expect(idMapProblem([mapping(0, 0, 10), mapping(9, 100, 1)])).toContain('overlap in containerID')
  expect(idMapProblem([mapping(0, 100, 1), mapping(1, 95, 10)])).toContain('overlap in hostID')
  expect(idMapProblem(Array.from({ length: 341 }, (_, i) => mapping(i, i, 1)))).toContain('at most 340')
})

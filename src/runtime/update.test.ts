import { expect, test } from 'bun:test'
import { mergeResources, withPartners } from './update.ts'

const STANDING = { cpu: { quota: 5000n, period: 10_000n, shares: 7n }, memory: { limit: 100n, swap: 200n } }

test('withPartners() adds to a changed quota the period that stands, and the other way round', () => {
  expect(withPartners({ cpu: { quota: 1n } }, STANDING)).toEqual({ cpu: { quota: 1n, period: 10_000n } })
  expect(withPartners({ cpu: { period: 2n } }, STANDING)).toEqual({ cpu: { period: 2n, quota: 5000n } })
  expect(withPartners({ cpu: { quota: 1n } }, {})).toEqual({ cpu: { quota: 1n } })
})

test('withPartners() adds to a changed limit on swap the limit on memory that stands', () => {
  expect(withPartners({ memory: { swap: 300n } }, STANDING)).toEqual({ memory: { swap: 300n, limit: 100n } })
})

test('withPartners() adds nothing that is not needed', () => {
  const changes = { cpu: { shares: 9n }, memory: { limit: 50n }, pids: { limit: 3n } }
  expect(withPartners(changes, STANDING)).toEqual(changes)
})

test('mergeResources() keeps the fields that were not changed', () => {
  expect(mergeResources(STANDING, { cpu: { shares: 9n }, pids: { limit: 3n } })).toEqual({
    cpu: { quota: 5000n, period: 10_000n, shares: 9n },
    memory: { limit: 100n, swap: 200n },
    pids: { limit: 3n },
  })
})

import { expect, test } from 'bun:test'
import { humanDuration } from './human-duration.ts'

test('humanDuration() writes durations as docker does', () => {
  const [second, minute, hour, day] = [1000, 60_000, 3_600_000, 86_400_000]
  const cases = [
    [500, 'Less than a second'],
    [second, '1 second'],
    [59 * second, '59 seconds'],
    [minute, 'About a minute'],
    [2 * minute, '2 minutes'],
    [hour, 'About an hour'],
    [1.6 * hour, '2 hours'],
    [47 * hour, '47 hours'],
    [2 * day, '2 days'],
    [13 * day, '13 days'],
    [14 * day, '2 weeks'],
    [60 * day, '2 months'],
    [800 * day, '2 years'],
  ] as const
  expect(cases.map(([ms]) => humanDuration(ms))).toEqual(cases.map(([, text]) => text))
})

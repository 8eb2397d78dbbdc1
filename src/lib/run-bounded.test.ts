import { expect, test } from 'bun:test'
import { runBounded } from './run-bounded.ts'

test('runBounded() does all work, and never more at once than the limit', async () => {
  let running = 0
  let most = 0
  const done: number[] = []
  await runBounded([1, 2, 3, 4, 5], 2, async item => {
    most = Math.max(most, ++running)
    await Promise.resolve()
    running--
    done.push(item)
  })
  expect(done.sort()).toEqual([1, 2, 3, 4, 5])
  expect(most).toBe(2)
})

test('runBounded() throws the first failure when all others have ended, and begins nothing after it', async () => {
  const begun: number[] = []
  let ended = false
  const outcome = runBounded([1, 2, 3], 2, async (item, signal) => {
    begun.push(item)
    if (item === 2) throw new Error('broken')
    await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve()))
    ended = true
    throw new Error('stopped')
  })
  await expect(outcome).rejects.toThrow('broken')
  expect([begun, ended]).toEqual([[1, 2], true])
})

test('runBounded() throws the reason of its signal', async () => {
  const controller = new AbortController()
  const outcome = runBounded(
    [1, 2],
    1,
    async () => {
      controller.abort(new Error('enough'))
    },
    controller.signal,
  )
  await expect(outcome).rejects.toThrow('enough')
})

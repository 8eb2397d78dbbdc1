import { expect, test } from 'bun:test'
import { PieceChannel } from './piece-channel.ts'

function bytes(...values: readonly number[]): Uint8Array {
  return Uint8Array.from(values)
}

test('PieceChannel hands on all pieces in order and ends', async () => {
  const channel = new PieceChannel(2)
  const writing = (async () => {
    for (let value = 0; value < 10; value++) await channel.push(bytes(value))
    channel.complete()
  })()
  const read: number[] = []
  for await (const piece of channel.read()) read.push(...piece)
  await writing
  expect(read).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
})

test('PieceChannel.push() waits while more bytes are on their way than the limit', async () => {
  const channel = new PieceChannel(2)
  await channel.push(bytes(1, 2))
  let isThrough = false
  const third = channel.push(bytes(3)).then(() => {
    isThrough = true
  })
  await Promise.resolve()
  expect(isThrough).toBe(false)
  const reader = channel.read()
  await reader.next()
  await third
  expect(isThrough).toBe(true)
})

test('PieceChannel.fail() reaches the reader before what is on its way', async () => {
  const channel = new PieceChannel(10)
  await channel.push(bytes(1))
  channel.fail(new Error('cut'))
  await expect(channel.read().next()).rejects.toThrow('cut')
})

test('PieceChannel.push() does not wait for a reader that has gone', async () => {
  const channel = new PieceChannel(0)
  const pushed = channel.push(bytes(1))
  for await (const _ of channel.read()) break
  await pushed
  await channel.push(bytes(2))
  channel.drop()
  await channel.push(bytes(3))
})

import { expect, test } from 'bun:test'
import { netlinkArgs } from './batch.ts'
import { LOOPBACK_IFINDEX, setLink } from './link.ts'
import { loopbackUp } from './loopback-up.ts'

test('loopbackUp() is the message that setLink() writes', () => {
  expect(loopbackUp()).toEqual(netlinkArgs(setLink({ index: LOOPBACK_IFINDEX }, { up: true })))
})

import { expect, test } from 'bun:test'
import { type ContainerId, parseContainerId } from './container-id.ts'

test.each(['a', 'A-b_c.d+e', '...', '0', 'x'.repeat(200)])('parseContainerId() accepts %p', text => {
  expect(parseContainerId(text)).toBe(text as ContainerId)
})

test.each(['', '.', '..', '../x', 'a/b', 'a b', 'ä', 'a\n', 'a\0', 'a:b', 'x'.repeat(201)])(
  'parseContainerId() refuses %p',
  text => {
    expect(() => parseContainerId(text)).toThrow('Cannot use container id ')
  },
)

import { expect, test } from 'bun:test'
import { nearestName } from './nearest-name.ts'

test('nearestName() finds what was meant by a slip or two, and nothing for another word', () => {
  const names = ['pull', 'push', 'images', 'inspect', 'rm', 'rmi']
  const meant = ['pul', 'imagse', 'inpsect', 'rim', 'pusj'].map(typed => nearestName(typed, names))
  expect(meant).toEqual(['pull', 'images', 'inspect', 'rm', 'push'])
  expect(['compose', 'x', ''].map(typed => nearestName(typed, names))).toEqual([null, null, null])
})

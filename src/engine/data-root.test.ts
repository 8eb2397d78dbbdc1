import { expect, test } from 'bun:test'
import { resolve } from 'node:path'
import { engineRoots } from './data-root.ts'

test('engineRoots() takes the places that are given, from the working directory', () => {
  expect(engineRoots({ data: 'd/../e', run: '/r/' })).toEqual({ data: resolve('e'), run: '/r' })
})

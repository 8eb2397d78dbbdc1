import { expect, test } from 'bun:test'
import { printPlan } from '../plan/print.ts'
import { mergePlan } from './merge-layers.ts'

test('mergePlan() confines itself to the snapshot before it merges, the lowest layer first', () => {
  const plan = mergePlan('/c/snapshot', ['/l/upper', '/l/lower'], { start: 1_400_000, size: 65_536 })
  const lines = printPlan(plan).split('\n')
  const at = (text: string): number => lines.findIndex(line => line.includes(text))
  expect(at('open_tree(AT_FDCWD, "/l/lower"')).toBeLessThan(at('open_tree(AT_FDCWD, "/l/upper"'))
  expect(at('pivot_root')).toBeLessThan(at('cap_bound'))
  expect(at('PR_SET_NO_NEW_PRIVS')).toBeLessThan(at('merge_tree'))
  expect(lines.filter(line => line.includes('merge_tree')).map(line => line.replace(/^ *\d+ */, ''))).toEqual([
    'merge_tree(@layer0, @root, @links, 1400000, 65536, none, 0)  # copy the layer onto what is below it',
    'merge_tree(@layer1, @root, @links, 1400000, 65536, none, 0)  # copy the layer onto what is below it',
  ])
})

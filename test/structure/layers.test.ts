import { describe, expect, test } from 'bun:test'
import { EFFECTFUL_MODULES, LAYERS } from '../../tools/layers.ts'
import { filesBelow, type ImportEdge, importsOf } from './source-files.ts'

const files = filesBelow('src', '.ts')
const edges = files.flatMap(importsOf)

function layerOf(path: string): string {
  return path.split('/')[1] ?? ''
}

function rankOf(path: string): number {
  return LAYERS.findIndex(({ folder }) => folder === layerOf(path))
}

describe('importsOf()', () => {
  const to = (text: string) => importsOf({ path: 'src/a/b.ts', text }).map(edge => edge.to)

  test.each([
    ["import { x } from './c.ts'", ['src/a/c.ts']],
    ["import type { X } from '../d/e.ts'", ['src/d/e.ts']],
    ["import {\n  x,\n  type Y,\n} from '../d/e.ts'", ['src/d/e.ts']],
    ["import './c.ts'", ['src/a/c.ts']],
    ["export { x } from './c.ts'", ['src/a/c.ts']],
    ["export type * from './c.ts'", ['src/a/c.ts']],
    ["const c = await import('./c.ts')", ['src/a/c.ts']],
    ["import data from './c.json' with { type: 'json' }", ['src/a/c.json']],
    ["import a from 'node:fs'\nimport b from './c.ts'", ['node:fs', 'src/a/c.ts']],
    ["export const from = 'x'", []],
    ["// import './c.ts'", []],
  ])('finds what %j imports', (text, expected) => expect(to(text)).toEqual(expected))
})

describe('src', () => {
  test('has only folders that tools/layers.ts names', () => {
    expect(files.filter(({ path }) => rankOf(path) < 0).map(({ path }) => path)).toEqual([])
  })

  test('imports only from its own layer or a lower one', () => {
    const broken = edges.filter(({ from, to }) => to.startsWith('src/') && rankOf(to) > rankOf(from))
    expect(broken).toEqual([])
  })

  test('imports nothing of the checkout but itself, the version, and in tests the support of the tests', () => {
    const foreign = edges.filter(
      ({ from, to }) =>
        /^(bench|bin|docs|native|test|tools)\/|^[^/]+\.json$|^\.\./.test(to) &&
        to !== 'package.json' &&
        !(from.endsWith('.test.ts') && to.startsWith('test/support/')),
    )
    expect(foreign).toEqual([])
  })

  test('has no effects in its pure layers', () => {
    const pure = LAYERS.filter(layer => layer.pure).map(({ folder }) => folder)
    const broken = edges.filter(
      ({ from, to }) => pure.includes(layerOf(from)) && !from.endsWith('.test.ts') && EFFECTFUL_MODULES.includes(to),
    )
    expect(broken).toEqual([])
  })

  test('has no cycles', () => {
    expect(cyclesOf(edges)).toEqual([])
  })
})

describe('cyclesOf()', () => {
  const graph = (...pairs: [string, string][]) => cyclesOf(pairs.map(([from, to]) => ({ from, to })))

  test('finds a file that imports itself through another', () => {
    expect(graph(['a', 'b'], ['b', 'c'], ['c', 'b'])).toEqual(['b → c → b'])
  })

  test('finds none in a diamond', () => {
    expect(graph(['a', 'b'], ['a', 'c'], ['b', 'd'], ['c', 'd'])).toEqual([])
  })
})

/** The import cycles met by a depth-first walk, each as `a → b → a`. */
function cyclesOf(all: readonly ImportEdge[]): string[] {
  const targets = Map.groupBy(all, ({ from }) => from)
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (file: string, path: readonly string[]): void => {
    const start = path.indexOf(file)
    if (start >= 0) cycles.push([...path.slice(start), file].join(' → '))
    if (start >= 0 || done.has(file)) return
    for (const { to } of targets.get(file) ?? []) visit(to, [...path, file])
    done.add(file)
  }
  for (const file of targets.keys()) visit(file, [])
  return cycles
}

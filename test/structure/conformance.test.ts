import { expect, test } from 'bun:test'
import { filesBelow } from './source-files.ts'

const PAGE = 'docs/conformance.md'
const page = filesBelow('docs', '.md').find(({ path }) => path === PAGE)?.text ?? ''
const rows = page.split('\n').filter(line => line.startsWith('| ') && !line.startsWith('| ---'))

/** The code spans of a row's last cell that read like a sentence: those are names of tests. */
function citedTests(row: string): string[] {
  const cell = row.split(' | ').at(-1) ?? ''
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name).filter(name => name.split(' ').length > 2)
}

test('docs/conformance.md cites tests that are there', () => {
  const sources = ['src', 'test'].flatMap(folder => filesBelow(folder, '.test.ts')).map(({ text }) => text)
  const named = (name: string) =>
    [`'${name}'`, `"${name}"`, `\`${name}\``].some(quoted => sources.some(text => text.includes(quoted)))
  const cited = [...new Set(rows.flatMap(citedTests))]
  expect(cited.length).toBeGreaterThan(100)
  expect(cited.filter(name => !named(name))).toEqual([])
})

test('docs/conformance.md has a row for every property of config.json', () => {
  const table = page.slice(page.indexOf('## Every property of config.json'))
  const documented = new Set(table.split('\n').flatMap(line => (line.split(' | ')[0] ?? '').match(/\w+/g) ?? []))
  const types = ['runtime-spec.ts', 'runtime-spec-linux.ts', 'runtime-spec-resources.ts']
  const properties = filesBelow('src/oci', '.ts')
    .filter(({ path }) => types.some(name => path === `src/oci/${name}`))
    .flatMap(({ text }) => [...text.matchAll(/^ {2}readonly (\w+)\??:/gm)].map(([, name = '']) => name))
  expect(properties.length).toBeGreaterThan(100)
  expect([...new Set(properties)].filter(name => !documented.has(name))).toEqual([])
})

test('docs/conformance.md has a test or a reason in every row', () => {
  expect(rows.filter(row => /\|\s*\|\s*$/.test(row))).toEqual([])
})

import { describe, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { LAYERS } from '../../tools/layers.ts'
import { filesBelow } from './source-files.ts'

const ROOT = join(import.meta.dir, '../..')
const documents = [...filesBelow('', '.md')]

function textOf(path: string): string {
  return filesBelow('', path).find(file => file.path === path)?.text ?? ''
}

test('docs/glossary.md names types and files that are there', () => {
  const rows = [...textOf('docs/glossary.md').matchAll(/`([\w-]+)` in `([\w./-]+)`/g)]
  const wrong = rows
    .filter(([, name = '', path = '']) => !new RegExp(`\\b${name}\\b`).test(textOf(path)))
    .map(([row]) => row)
  expect(rows.length).toBeGreaterThan(0)
  expect(wrong).toEqual([])
})

test('CONTRIBUTING.md says of every folder of src what it holds', () => {
  const text = textOf('CONTRIBUTING.md')
  expect(LAYERS.filter(({ folder }) => !text.includes(`\`src/${folder}\``))).toEqual([])
})

describe('a page', () => {
  test('links to files that are there', () => {
    const broken = documents.flatMap(({ path, text }) =>
      [...text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
        .map(([, target = '']) => join(ROOT, path, '..', target))
        .filter(target => !existsSync(target))
        .map(target => `${path}: ${target}`),
    )
    expect(broken).toEqual([])
  })
})

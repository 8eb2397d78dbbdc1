import { expect, test } from 'bun:test'
import { filesBelow, importsOf } from './source-files.ts'

/** What `berth run` of an image that is here loads: these, and all that they import at once. */
const ROOTS = ['src/cli/main.ts', 'src/cli/run.ts', 'src/engine/open-reference.ts']
/** What fetches, stores and unpacks is for those who need it. */
const LEFT_OUT = [
  /^src\/registry\//,
  /^src\/content\//,
  /^src\/image\/(?:pull|push|register)-/,
  /^src\/lib\/tar\//,
  /^node:(?:zlib|https?|net|tls)$/,
]

const files = new Map(filesBelow('src', '.ts').map(file => [file.path, file]))

function loadedFrom(roots: readonly string[]): ReadonlySet<string> {
  const loaded = new Set<string>()
  const queue = [...roots]
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (loaded.has(path)) continue
    loaded.add(path)
    const file = files.get(path)
    if (file === undefined) continue
    // Types are gone by then, and import() is called later.
    const text = file.text.replaceAll(/^(?:import|export) type\b[^']*'[^']+'/gm, '').replaceAll(/\bimport\(/g, 'later(')
    queue.push(...importsOf({ path, text }).map(({ to }) => to))
  }
  return loaded
}

test('berth run of an image that is here loads nothing of registries, blobs and compression', () => {
  for (const root of ROOTS) expect(files.has(root)).toBe(true)
  const loaded = loadedFrom(ROOTS)
  expect([...loaded].filter(path => LEFT_OUT.some(pattern => pattern.test(path)))).toEqual([])
  expect(loaded.has('src/image/stored-image.ts')).toBe(true)
})

test('the same of what pulls finds all of that, so that this test can fail', () => {
  const loaded = [...loadedFrom(['src/engine/pull-to-run.ts'])]
  for (const folder of ['src/registry/', 'src/content/'])
    expect(loaded.some(path => path.startsWith(folder))).toBe(true)
})

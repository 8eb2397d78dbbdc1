/** The files of the checkout as the structure tests see them. */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, normalize } from 'node:path'

const ROOT = join(import.meta.dir, '../..')
// What is not ours or not kept: .gitignore, and git's own.
const LEFT_OUT = ['.git', 'node_modules', 'dist', 'native/build']

/** A kept file: path relative to the checkout. */
export interface SourceFile {
  readonly path: string
  readonly text: string
}

/** An import statement or expression of a file. */
export interface ImportEdge {
  readonly from: string
  /** A path relative to the checkout, or the name of a module. */
  readonly to: string
}

/** All kept text files below a folder (empty: the whole checkout) whose name ends so. */
export function filesBelow(folder: string, ending = ''): SourceFile[] {
  if (!existsSync(join(ROOT, folder))) return []
  return pathsBelow(folder)
    .filter(path => path.endsWith(ending))
    .map(path => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
    .filter(({ text }) => !text.includes('\0'))
}

function pathsBelow(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name)
    if (LEFT_OUT.includes(path) || entry.name === 'node_modules') return []
    if (entry.isDirectory()) return pathsBelow(path)
    return entry.isFile() ? [path] : []
  })
}

// `import … from 'x'`, `export … from 'x'` and `import 'x'` at the start of a line, types included; `import('x')` anywhere.
const STATIC_IMPORT = /^(?:import|export)\b(?:[^'"`;()]*?\bfrom)?\s*'([^']+)'/gm
const DYNAMIC_IMPORT = /\bimport\(\s*'([^']+)'/g

/** What a file imports. Bun's own scanner leaves type-only imports out, and a layer is broken by a type as well. */
export function importsOf({ path, text }: SourceFile): ImportEdge[] {
  const specifiers = [...text.matchAll(STATIC_IMPORT), ...text.matchAll(DYNAMIC_IMPORT)].map(
    ([, specifier = '']) => specifier,
  )
  return specifiers.map(specifier => ({ from: path, to: resolve(path, specifier) }))
}

function resolve(path: string, specifier: string): string {
  return specifier.startsWith('.') ? normalize(join(path, '..', specifier)) : specifier
}

import { describe, expect, test } from 'bun:test'
import { filesBelow, type SourceFile } from './source-files.ts'

const DECLARATION = /^export (?:abstract |async )*(?:function\*?|class|interface) (\w+)/

/** The exported functions, classes and interfaces that have no doc comment directly above. */
function undocumented({ path, text }: SourceFile): string[] {
  const lines = text.split('\n')
  return lines.flatMap((line, index) => {
    const [, name] = DECLARATION.exec(line) ?? []
    if (name === undefined) return []
    const above = lines[index - 1] ?? ''
    // The signatures of an overloaded function share the comment of the first.
    const isOverload = DECLARATION.exec(above)?.[1] === name
    return above.trimEnd().endsWith('*/') || isOverload ? [] : [`${path}:${index + 1}: ${name}`]
  })
}

describe('undocumented()', () => {
  const check = (text: string) => undocumented({ path: 'a.ts', text })

  test('finds a function without a comment', () => {
    expect(check('\nexport function f(): void {}')).toEqual(['a.ts:2: f'])
  })

  test.each([
    ['/** Says. */\nexport async function f() {}'],
    ['/**\n * Says.\n */\nexport abstract class C {}'],
    ['/** Says. */\nexport function f(a: string): void\nexport function f(a: number): void'],
    ['function inner() {}'],
  ])('accepts %j', text => expect(check(text)).toEqual([]))
})

test('every exported function, class and interface of src has a doc comment', () => {
  const sources = filesBelow('src', '.ts').filter(({ path }) => !path.endsWith('.test.ts'))
  expect(sources.flatMap(undocumented)).toEqual([])
})

import { expect, test } from 'bun:test'
import { type Grammar, helpText, parseOptions } from './options.ts'

const grammar: Grammar = {
  name: 'runtime create',
  operands: 'ID',
  help: 'Creates.',
  options: [
    { name: 'bundle', short: 'b', kind: 'value', value: 'DIR', help: 'the bundle' },
    { name: 'env', short: 'e', kind: 'values', help: 'a variable' },
    { name: 'tty', short: 't', kind: 'flag', help: 'a terminal' },
    { name: 'interactive', short: 'i', kind: 'flag', help: 'keep stdin' },
  ],
}

const lines: readonly (readonly [line: string, bundle: string | undefined, env: readonly string[], tty: boolean])[] = [
  ['--bundle dir a', 'dir', [], false],
  ['--bundle=dir a', 'dir', [], false],
  ['-b dir a', 'dir', [], false],
  ['-bdir a', 'dir', [], false],
  ['-itb=dir a', 'dir', [], true],
  ['-e A=1 --env B=2 a -t', undefined, ['A=1', 'B=2'], true],
  ['--tty --tty=false a', undefined, [], false],
  ['-t -- a', undefined, [], true],
]
test.each(lines)('parseOptions() reads "%s"', (line, bundle, env, tty) => {
  const parsed = parseOptions(grammar, line.split(' '))
  expect(parsed.value('bundle')).toBe(bundle)
  expect(parsed.values('env')).toEqual(env)
  expect(parsed.flag('tty')).toBe(tty)
  expect(parsed.operands).toEqual(['a'])
})

test.each(['--none', '-x', '--bundle', '-b', '--tty=maybe'])(
  'parseOptions() refuses "%s" and says which help to read',
  line => {
    expect(() => parseOptions(grammar, [line])).toThrow('; see "berth runtime create --help"')
  },
)

test('parseOptions() leaves what follows the first operand alone where the grammar says so', () => {
  const parsed = parseOptions({ ...grammar, stopAtOperand: true }, ['-t', 'a', '-b', '--none'])
  expect(parsed.operands).toEqual(['a', '-b', '--none'])
})

test('helpText() shows the whole command', () => {
  expect(helpText(grammar, 'berth')).toStartWith('Usage: berth runtime create [OPTIONS] ID\n')
})

test('parseOptions() says which option was meant by a misspelt one', () => {
  const name = grammar.options.find(each => each.name.length > 4)?.name ?? ''
  expect(() => parseOptions(grammar, [`--${name.slice(0, -1)}`])).toThrow(`did you mean "--${name}"?`)
})

test('parseOptions() and helpText() name the program itself when the grammar has no name', () => {
  const own = { ...grammar, name: '' }
  expect(() => parseOptions(own, ['--none'])).toThrow(
    'Cannot use option "--none": berth has none of that name; see "berth --help"',
  )
  expect(helpText(own, 'berth')).toStartWith('Usage: berth [OPTIONS] ID\n')
})

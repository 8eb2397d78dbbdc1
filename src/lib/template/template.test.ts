import { describe, expect, test } from 'bun:test'
import cases from './docker-28.2.2.json' with { type: 'json' }
import { Template } from './template.ts'
import { Method, type Value } from './value.ts'

/** What `docker context inspect` gives to templates when there is only the default context. */
const CONTEXT: Value = {
  Name: 'default',
  Endpoints: new Map([['docker', { Host: 'unix:///var/run/docker.sock', SkipTLSVerify: false }]]),
  TLSMaterial: new Map(),
}

function run(text: string, value: Value = CONTEXT): string {
  return Template.parse(text).execute(value, { typeName: 'context.contextWithTLSListing' })
}

/** The error without our own beginning. */
function errorOf(text: string, value: Value = CONTEXT): string {
  try {
    run(text, value)
  } catch (error) {
    return String(error).replace(/^BerthError: Cannot use template ".*?": (?=template: )/s, '')
  }
  return 'no error'
}

describe('Template does what the docker CLI 28.2.2 did', () => {
  for (const { template, ...expected } of cases as readonly {
    readonly template: string
    readonly output?: string
    readonly error?: string
  }[]) {
    test(`with ${JSON.stringify(template).slice(0, 120)}`, () => {
      if (expected.error === undefined) expect(run(template)).toBe(expected.output ?? '')
      else expect(errorOf(template)).toBe(expected.error)
    })
  }
})

describe('Template', () => {
  test('parse() names the template and the line of what is wrong', () => {
    expect(() => Template.parse('a\n{{end}}')).toThrow(
      'Cannot use template "a\n{{end}}": template: :2: unexpected {{end}}',
    )
  })

  test('execute() calls a method with its arguments', () => {
    const row = { Label: new Method(1, name => `<${name}>`) }
    expect(run('{{.Label "a"}}{{"b" | .Label}}', row)).toBe('<a><b>')
    expect(errorOf('{{.Label}}', row)).toContain('wrong number of args for Label: want 1 got 0')
    expect(errorOf('{{.Label 1}}', row)).toContain('expected string; found 1')
  })

  test('execute() does not find what every JavaScript object has', () => {
    for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
      expect(errorOf(`{{.${name}}}`, { A: 1 })).toContain(`can't evaluate field ${name} in type`)
      expect(run(`{{.${name}}}`, new Map())).toBe('<no value>')
    }
  })

  test('execute() says that a field of nothing is asked for', () => {
    expect(errorOf('{{.A.B}}', { A: null })).toContain('nil pointer evaluating struct.B')
    expect(run('{{.A}}', { A: null })).toBe('<nil>')
    expect(run('{{if .A}}x{{else}}y{{end}}', { A: null })).toBe('y')
  })

  test('json keeps the order of fields, sorts the keys of maps, and leaves methods out', () => {
    const row = {
      b: 1,
      a: new Map([
        ['z', null],
        ['c', true],
      ]),
      m: new Method(0, () => ''),
      l: [],
    }
    expect(run('{{json .}}', row)).toBe('{"b":1,"a":{"c":true,"z":null},"l":[]}')
  })

  test('truncate never cuts a character, other than Docker', () => {
    expect(run('{{truncate "héllo" 2}}')).toBe('hé')
  })

  test('executeForTitles() gives the titles up to an error, unchanged by functions', () => {
    const titles = new Map([['Name', 'NAME']])
    expect(Template.parse('{{lower .Name}}\t{{truncate .Name 2}}\t{{json .B}}x').executeForTitles(titles)).toBe(
      'NAME\tNAME\t',
    )
    expect(Template.parse('{{if .B}}x{{end}}{{pad .Name 1 1}}|{{printf "%s!" .Name}}').executeForTitles(titles)).toBe(
      ' NAME |NAME!',
    )
  })
})

describe('Template ends', () => {
  const limits = { steps: 10_000, outputLength: 10_000, depth: 10 }
  const endless: readonly (readonly [text: string, why: string])[] = [
    ['{{range 1000000000}}{{end}}', 'exceeded 10000 steps'],
    ['{{range 1000}}{{range 1000}}{{end}}{{end}}', 'exceeded 10000 steps'],
    ['{{range 5000}}long text{{end}}', 'exceeded 10000 characters of output'],
    ['{{define "a"}}{{template "a"}}{{end}}{{template "a"}}', 'exceeded maximum template depth (10)'],
    ['{{define "a"}}{{template "b"}}{{end}}{{define "b"}}{{template "a"}}{{end}}{{template "a"}}', 'depth (10)'],
    ['{{pad "x" 1000000000 1000000000}}', 'exceeded 10000 characters of output'],
    ['{{printf "%999999d" 1}}', 'exceeded 10000 characters of output'],
    ['{{printf "%*d" 999999 1}}', 'exceeded 10000 characters of output'],
    ['{{$x := "aaaaaaaa"}}{{range 100}}{{$x = print $x $x}}{{end}}', 'exceeded 10000 characters of output'],
  ]
  for (const [text, why] of endless) {
    test(`${text} with an error`, () => {
      expect(() => Template.parse(text).execute(null, { limits })).toThrow(why)
    })
  }

  for (const [name, text] of [
    ['parentheses', `${'('.repeat(100_000)}1`],
    ['conditions', '{{if 1}}'.repeat(100_000)],
    ['else-ifs', `{{if 0}}${'{{else if 0}}'.repeat(100_000)}`],
  ] as const) {
    test(`at 100,000 nested ${name} with an error`, () => {
      expect(() => Template.parse(text.startsWith('(') ? `{{${text}}}` : text)).toThrow('nested deeper than 200')
    })
  }
})

/** The words of a Go template. Source: Go's text/template/parse. */

/** What a token is; the keywords are types of their own. */
export type TokenType =
  | 'error'
  | 'text'
  | 'leftDelim'
  | 'rightDelim'
  | 'space'
  | 'assign'
  | 'declare'
  | 'pipe'
  | 'leftParen'
  | 'rightParen'
  | 'char'
  | 'bool'
  | 'charConstant'
  | 'number'
  | 'string'
  | 'rawString'
  | 'identifier'
  | 'field'
  | 'variable'
  | 'eof'
  | Keyword

/** The reserved words; `.` counts as one. */
export type Keyword =
  | '.'
  | 'block'
  | 'break'
  | 'continue'
  | 'define'
  | 'else'
  | 'end'
  | 'if'
  | 'nil'
  | 'range'
  | 'template'
  | 'with'

const KEYWORDS: ReadonlySet<string> = new Set<Keyword>([
  '.',
  'block',
  'break',
  'continue',
  'define',
  'else',
  'end',
  'if',
  'nil',
  'range',
  'template',
  'with',
])

/** One word: `position` is its first UTF-16 unit in the template, `line` counts from 1. */
export interface Token {
  readonly type: TokenType
  readonly text: string
  readonly position: number
  readonly line: number
}

/** Whether a word is reserved. */
export function isKeyword(text: string): text is Keyword {
  return KEYWORDS.has(text)
}

const SHOWN_LENGTH = 10

/** A token as errors show it. */
export function showToken({ type, text }: Token): string {
  if (type === 'eof') return 'EOF'
  if (type === 'error') return text
  if (isKeyword(type)) return `<${text}>`
  return text.length > SHOWN_LENGTH ? `${JSON.stringify(text.slice(0, SHOWN_LENGTH))}...` : JSON.stringify(text)
}

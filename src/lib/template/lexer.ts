import { isKeyword, type Token, type TokenType } from './token.ts'

const LEFT = '{{'
const RIGHT = '}}'
const SPACE = /[ \t\r\n]/
const SPACES_BEFORE_END = /[ \t\r\n]+$/
const ALPHANUMERIC = /[\p{L}\p{Nd}_]/u
const NUMBER =
  /[+-]?(?:0[xX][\da-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?)/y

/** Cuts a template into tokens; the last one is `eof`, or `error` with what is wrong as its text. */
export function tokenize(text: string): readonly Token[] {
  return new Lexer(text).run()
}

class Lexer {
  readonly #text: string
  readonly #tokens: Token[] = []
  #at = 0
  #line = 1
  #parenDepth = 0
  #failed = false

  constructor(text: string) {
    this.#text = text
  }

  run(): readonly Token[] {
    while (!this.#failed && this.#at < this.#text.length) {
      this.#outside()
      if (!this.#failed && this.#at < this.#text.length) this.#action()
    }
    if (!this.#failed) this.#emit('eof', this.#at)
    return this.#tokens
  }

  /** Text up to the next action; a trim marker takes the white space before it. */
  #outside(): void {
    const found = this.#text.indexOf(LEFT, this.#at)
    const end = found < 0 ? this.#text.length : found
    const isTrimmed = found >= 0 && this.#isLeftTrim(found)
    const text = this.#text.slice(this.#at, end)
    const kept = isTrimmed ? text.replace(SPACES_BEFORE_END, '') : text
    if (kept !== '') this.#emit('text', this.#at + kept.length)
    this.#skipTo(end)
  }

  #isLeftTrim(at: number): boolean {
    return this.#text[at + LEFT.length] === '-' && SPACE.test(this.#text[at + LEFT.length + 1] ?? '')
  }

  #isRightTrim(at: number): boolean {
    return SPACE.test(this.#text[at] ?? '') && this.#text.startsWith(`-${RIGHT}`, at + 1)
  }

  /** One `{{…}}`; `#at` is at its beginning. */
  #action(): void {
    const trim = this.#isLeftTrim(this.#at) ? 2 : 0
    const inside = this.#at + LEFT.length + trim
    if (this.#text.startsWith('/*', inside)) {
      this.#skipTo(inside)
      this.#comment()
      return
    }
    this.#emit('leftDelim', this.#at + LEFT.length)
    this.#skipTo(inside)
    this.#parenDepth = 0
    for (;;) {
      const isTrimmed = this.#isRightTrim(this.#at)
      if (isTrimmed || this.#text.startsWith(RIGHT, this.#at)) {
        if (this.#parenDepth > 0) this.#fail('unclosed left paren')
        else this.#close(isTrimmed)
        return
      }
      this.#word()
      if (this.#failed) return
    }
  }

  #close(isTrimmed: boolean): void {
    if (isTrimmed) this.#skipTo(this.#at + 2)
    this.#emit('rightDelim', this.#at + RIGHT.length)
    if (isTrimmed) this.#skipSpaces()
  }

  #comment(): void {
    const end = this.#text.indexOf('*/', this.#at)
    if (end < 0) {
      this.#fail('unclosed comment')
      return
    }
    this.#skipTo(end + 2)
    const isTrimmed = this.#isRightTrim(this.#at)
    if (isTrimmed || this.#text.startsWith(RIGHT, this.#at)) {
      this.#skipTo(this.#at + RIGHT.length + (isTrimmed ? 2 : 0))
      if (isTrimmed) this.#skipSpaces()
    } else this.#fail('comment ends before closing delimiter')
  }

  #word(): void {
    const char = this.#text[this.#at]
    const next = this.#text[this.#at + 1] ?? ''
    if (char === undefined) this.#fail('unclosed action')
    else if (SPACE.test(char)) this.#space()
    else if (char === '=') this.#emit('assign', this.#at + 1)
    else if (char === ':') next === '=' ? this.#emit('declare', this.#at + 2) : this.#fail('expected :=')
    else if (char === '|') this.#emit('pipe', this.#at + 1)
    else if (char === '"') this.#quoted('"', 'string', 'unterminated quoted string')
    else if (char === "'") this.#quoted("'", 'charConstant', 'unterminated character constant')
    else if (char === '`') this.#raw()
    else if (char === '$' || (char === '.' && !/\d/.test(next))) this.#fieldOrVariable(char)
    else if (/[.+\-\d]/.test(char)) this.#number()
    else if (char === '(' || char === ')') this.#paren(char)
    else if (ALPHANUMERIC.test(this.#charAt(this.#at))) this.#identifier()
    else if (/[!-~]/.test(char)) this.#emit('char', this.#at + 1)
    else this.#fail(`unrecognized character in action: ${unicodeName(this.#charAt(this.#at))}`)
  }

  #space(): void {
    let end = this.#at
    // The space of a closing trim marker belongs to it.
    while (SPACE.test(this.#text[end] ?? '') && !this.#isRightTrim(end)) end++
    this.#emit('space', end)
  }

  #quoted(quote: string, type: TokenType, message: string): void {
    let at = this.#at + 1
    while (at < this.#text.length && this.#text[at] !== quote && this.#text[at] !== '\n') {
      at += this.#text[at] === '\\' && this.#text[at + 1] !== '\n' ? 2 : 1
    }
    if (this.#text[at] === quote) this.#emit(type, at + 1)
    else this.#fail(message)
  }

  #raw(): void {
    const end = this.#text.indexOf('`', this.#at + 1)
    if (end < 0) this.#fail('unterminated raw quoted string')
    else this.#emit('rawString', end + 1)
  }

  #fieldOrVariable(first: string): void {
    const end = this.#alphanumericEnd(this.#at + 1)
    if (!this.#isTerminator(end)) this.#fail(`bad character ${unicodeName(this.#charAt(end))}`)
    else if (first === '$') this.#emit('variable', end)
    else this.#emit(end === this.#at + 1 ? '.' : 'field', end)
  }

  #number(): void {
    NUMBER.lastIndex = this.#at
    const end = this.#at + (NUMBER.exec(this.#text)?.[0].length ?? 0)
    if (end === this.#at || ALPHANUMERIC.test(this.#charAt(end))) {
      const bad = this.#text.slice(this.#at, end + this.#charAt(end).length)
      this.#fail(`bad number syntax: ${JSON.stringify(bad)}`)
    } else this.#emit('number', end)
  }

  #paren(char: string): void {
    this.#parenDepth += char === '(' ? 1 : -1
    if (this.#parenDepth < 0) this.#fail('unexpected right paren')
    else this.#emit(char === '(' ? 'leftParen' : 'rightParen', this.#at + 1)
  }

  #identifier(): void {
    const end = this.#alphanumericEnd(this.#at)
    const word = this.#text.slice(this.#at, end)
    if (!this.#isTerminator(end)) this.#fail(`bad character ${unicodeName(this.#charAt(end))}`)
    else if (isKeyword(word)) this.#emit(word, end)
    else this.#emit(word === 'true' || word === 'false' ? 'bool' : 'identifier', end)
  }

  #alphanumericEnd(from: number): number {
    let end = from
    while (end < this.#text.length && ALPHANUMERIC.test(this.#charAt(end))) end += this.#charAt(end).length
    return end
  }

  #isTerminator(at: number): boolean {
    const char = this.#text[at]
    return char === undefined || /[ \t\r\n.,|:()]/.test(char) || this.#text.startsWith(RIGHT, at)
  }

  #charAt(at: number): string {
    return at < this.#text.length ? String.fromCodePoint(this.#text.codePointAt(at) ?? 0) : ''
  }

  #skipSpaces(): void {
    let end = this.#at
    while (SPACE.test(this.#text[end] ?? '')) end++
    this.#skipTo(end)
  }

  #skipTo(end: number): void {
    for (let at = this.#at; at < end; at++) if (this.#text[at] === '\n') this.#line++
    this.#at = end
  }

  #emit(type: TokenType, end: number): void {
    const text = this.#text.slice(this.#at, end)
    this.#tokens.push({ type, text, position: this.#at, line: this.#line })
    this.#skipTo(end)
  }

  #fail(message: string): void {
    this.#failed = true
    this.#tokens.push({ type: 'error', text: message, position: this.#at, line: this.#line })
  }
}

function unicodeName(char: string): string {
  const code = (char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')
  return `U+${code} '${char}'`
}

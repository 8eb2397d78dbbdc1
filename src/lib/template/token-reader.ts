import { showToken, type Token, type TokenType } from './token.ts'

/** A template that is none: `1: unexpected EOF`. */
export class TemplateSyntaxError extends Error {
  override readonly name = 'TemplateSyntaxError'
}

/** The tokens of a template, read from the first to the last. */
export class TokenReader {
  readonly #tokens: readonly Token[]
  #at = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  /** The next token, which stays the next one. */
  peek(): Token {
    return this.#tokenAt(this.#at)
  }

  /** Takes the next token. */
  next(): Token {
    const token = this.peek()
    this.#at = Math.min(this.#at + 1, this.#tokens.length)
    return token
  }

  /** Gives the last token back. */
  back(): void {
    this.#at--
  }

  /** Takes the next token that is no space. */
  nextSignificant(): Token {
    for (;;) {
      const token = this.next()
      if (token.type !== 'space') return token
    }
  }

  /** A coming token that is no space, `skip` others before it. */
  peekSignificant(skip = 0): Token {
    let left = skip
    for (let at = this.#at; ; at++) {
      const token = this.#tokenAt(at)
      if (token.type === 'space') continue
      if (left === 0 || token.type === 'eof' || token.type === 'error') return token
      left--
    }
  }

  /** Takes a token of a type. @throws {TemplateSyntaxError} it is another */
  expect(type: TokenType, context: string): Token {
    const token = this.nextSignificant()
    if (token.type !== type) throw this.unexpected(token, context)
    return token
  }

  /** The error of a token in a wrong place, or what the lexer said of it. */
  unexpected(token: Token, context: string): TemplateSyntaxError {
    return this.error(token.type === 'error' ? token.text : `unexpected ${showToken(token)} in ${context}`)
  }

  /** An error at the last token that was taken. */
  error(message: string): TemplateSyntaxError {
    const { line } = this.#tokenAt(Math.max(0, this.#at - 1))
    return new TemplateSyntaxError(`${line}: ${message}`)
  }

  #tokenAt(at: number): Token {
    const token = this.#tokens[Math.min(at, this.#tokens.length - 1)]
    return token ?? { type: 'eof', text: '', position: 0, line: 1 }
  }
}

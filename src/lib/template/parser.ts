import { ConstantError, readCharacter, readNumber, unquote } from './constant.ts'
import { tokenize } from './lexer.ts'
import type { BranchNode, CommandNode, ConstantNode, OperandNode, PipeNode, Statement, TemplateNode } from './node.ts'
import type { Token, TokenType } from './token.ts'
import { TokenReader } from './token-reader.ts'

/** A parsed template and those that it defines, by name. */
export interface ParsedTemplate {
  readonly text: string
  readonly body: readonly Statement[]
  readonly defined: ReadonlyMap<string, readonly Statement[]>
}

/** Each level is a few frames of the stack. */
const NESTING_LIMIT = 200

/**
 * Parses a template.
 * @throws {TemplateSyntaxError} `1: unexpected EOF`: the line and what is wrong there
 */
export function parseTemplate(text: string, isFunction: (name: string) => boolean): ParsedTemplate {
  return new Parser(text, isFunction).parse()
}

/** What ended a list of statements. */
type Ending = 'end' | 'else' | 'eof'

interface Block {
  readonly statements: readonly Statement[]
  readonly ending: Ending
}

/** What a pipeline ends with; and what it belongs to, for errors. */
type PipeEnd = 'rightDelim' | 'rightParen'

const CONSTANTS: ReadonlySet<string> = new Set(['constant', 'dot', 'nil'])
const OPERAND_STARTS: ReadonlySet<TokenType> = new Set<TokenType>([
  'bool',
  'charConstant',
  '.',
  'field',
  'identifier',
  'number',
  'nil',
  'rawString',
  'string',
  'variable',
  'leftParen',
])

/** The grammar by recursive descent, in the order and with the positions of Go's, so that errors are the same. */
class Parser {
  readonly #text: string
  readonly #tokens: TokenReader
  readonly #isFunction: (name: string) => boolean
  readonly #defined = new Map<string, readonly Statement[]>()
  #variables: string[] = ['$']
  #rangeDepth = 0
  #nesting = 0

  constructor(text: string, isFunction: (name: string) => boolean) {
    this.#text = text
    this.#tokens = new TokenReader(tokenize(text))
    this.#isFunction = isFunction
  }

  parse(): ParsedTemplate {
    const body: Statement[] = []
    while (this.#tokens.peek().type !== 'eof') {
      if (this.#tokens.peek().type === 'leftDelim' && this.#tokens.peekSignificant(1).type === 'define') {
        this.#definition()
        continue
      }
      const statement = this.#statement()
      if (statement === 'end' || statement === 'else') throw this.#tokens.error(`unexpected {{${statement}}}`)
      if (statement !== null) body.push(statement)
    }
    return { text: this.#text, body, defined: this.#defined }
  }

  #definition(): void {
    this.#tokens.next()
    this.#tokens.nextSignificant()
    const name = this.#templateName('define clause')
    this.#tokens.expect('rightDelim', 'define clause')
    const variables = this.#variables
    this.#variables = ['$']
    const { statements, ending } = this.#block()
    this.#variables = variables
    if (ending !== 'end') throw this.#tokens.error('unexpected {{else}} in define clause')
    this.#defined.set(name, statements)
  }

  #templateName(context: string): string {
    const token = this.#tokens.nextSignificant()
    if (token.type !== 'string' && token.type !== 'rawString') throw this.#tokens.unexpected(token, context)
    return this.#constant(() => unquote(token.text))
  }

  /** Statements up to an `end` or `else`, which is read too. */
  #block(): Block {
    if (++this.#nesting > NESTING_LIMIT) throw this.#tokens.error(`nested deeper than ${NESTING_LIMIT}`)
    const statements: Statement[] = []
    while (this.#tokens.peekSignificant().type !== 'eof') {
      const statement = this.#statement()
      if (statement === 'end' || statement === 'else') {
        this.#nesting--
        return { statements, ending: statement }
      }
      if (statement !== null) statements.push(statement)
    }
    throw this.#tokens.error('unexpected EOF')
  }

  #statement(): Statement | 'end' | 'else' | null {
    const token = this.#tokens.nextSignificant()
    if (token.type === 'text') return { kind: 'text', text: token.text }
    if (token.type !== 'leftDelim') throw this.#tokens.unexpected(token, 'input')
    return this.#action()
  }

  #action(): Statement | 'end' | 'else' | null {
    const token = this.#tokens.nextSignificant()
    switch (token.type) {
      case 'end':
        this.#tokens.expect('rightDelim', 'end')
        return 'end'
      case 'else':
        // `{{else if …}}` and `{{else with …}}`: the word is left for who knows what it is the else of.
        if (!['if', 'with'].includes(this.#tokens.peekSignificant().type)) this.#tokens.expect('rightDelim', 'else')
        return 'else'
      case 'if':
      case 'with':
      case 'range':
        return this.#branch(token, token.type)
      case 'break':
      case 'continue':
        return this.#jump(token, token.type)
      case 'template':
        return this.#call(token)
      case 'block':
        return this.#blockStatement(token)
      default: {
        this.#tokens.back()
        const { position } = this.#tokens.peek()
        return { kind: 'action', position, pipe: this.#pipeline('command', 'rightDelim') }
      }
    }
  }

  #branch({ position }: Token, kind: BranchNode['kind']): BranchNode {
    const variableCount = this.#variables.length
    const pipe = this.#pipeline(kind, 'rightDelim')
    if (kind === 'range') this.#rangeDepth++
    const { statements: body, ending } = this.#block()
    if (kind === 'range') this.#rangeDepth--
    const otherwise = ending === 'else' ? this.#otherwise(kind) : []
    this.#variables.length = variableCount
    return { kind, position, pipe, body, otherwise }
  }

  #otherwise(kind: BranchNode['kind']): readonly Statement[] {
    const word = this.#tokens.peekSignificant()
    if (word.type !== 'rightDelim' && kind === word.type && (kind === 'if' || kind === 'with')) {
      if (++this.#nesting > NESTING_LIMIT) throw this.#tokens.error(`nested deeper than ${NESTING_LIMIT}`)
      this.#tokens.nextSignificant()
      const inner = [this.#branch(word, kind)]
      this.#nesting--
      return inner
    }
    const { statements, ending } = this.#block()
    if (ending !== 'end') throw this.#tokens.error('expected end; found {{else}}')
    return statements
  }

  #jump({ position }: Token, kind: 'break' | 'continue'): Statement {
    const token = this.#tokens.nextSignificant()
    if (token.type !== 'rightDelim') throw this.#tokens.unexpected(token, `{{${kind}}}`)
    if (this.#rangeDepth === 0) throw this.#tokens.error(`{{${kind}}} outside {{range}}`)
    return { kind, position }
  }

  #call({ position }: Token): TemplateNode {
    // Go gives the position of the name.
    const at = this.#tokens.peekSignificant().position
    const name = this.#templateName('template clause')
    const hasPipe = this.#tokens.peekSignificant().type !== 'rightDelim'
    const pipe = hasPipe ? this.#pipeline('template clause', 'rightDelim') : null
    if (!hasPipe) this.#tokens.nextSignificant()
    return { kind: 'template', position: Math.max(position, at), name, pipe }
  }

  #blockStatement(token: Token): TemplateNode {
    const name = this.#templateName('block clause')
    const pipe = this.#pipeline('block clause', 'rightDelim')
    const variables = this.#variables
    this.#variables = ['$']
    const { statements, ending } = this.#block()
    this.#variables = variables
    if (ending !== 'end') throw this.#tokens.error('unexpected {{else}} in block clause')
    if (!this.#defined.has(name)) this.#defined.set(name, statements)
    return { kind: 'template', position: token.position, name, pipe }
  }

  #pipeline(context: string, end: PipeEnd): PipeNode {
    const { position } = this.#tokens.peekSignificant()
    const { names: variables, isAssignment } = this.#declarations(context)
    const commands: CommandNode[] = []
    for (;;) {
      const token = this.#tokens.nextSignificant()
      if (token.type === end) break
      if (!OPERAND_STARTS.has(token.type)) throw this.#tokens.unexpected(token, context)
      this.#tokens.back()
      commands.push(this.#command())
    }
    if (commands.length === 0) throw this.#tokens.error(`missing value for ${context}`)
    const stage = commands.findIndex(({ operands }, index) => index > 0 && CONSTANTS.has(operands[0]?.kind ?? ''))
    if (stage > 0) throw this.#tokens.error(`non executable command in pipeline stage ${stage + 1}`)
    // A variable is known after its declaration only.
    if (!isAssignment) this.#variables.push(...variables)
    return { kind: 'pipe', position, variables, isAssignment, commands }
  }

  #declarations(context: string): { readonly names: readonly string[]; readonly isAssignment: boolean } {
    const names: string[] = []
    for (;;) {
      const variable = this.#tokens.peekSignificant()
      if (variable.type !== 'variable') return { names, isAssignment: false }
      const next = this.#tokens.peekSignificant(1)
      const isComma = next.type === 'char' && next.text === ','
      if (next.type !== 'assign' && next.type !== 'declare' && !isComma) return { names, isAssignment: false }
      this.#tokens.nextSignificant()
      this.#tokens.nextSignificant()
      if (next.type === 'assign' && !this.#variables.includes(variable.text)) throw this.#undefined(variable.text)
      names.push(variable.text)
      if (!isComma) return { names, isAssignment: next.type === 'assign' }
      if (context !== 'range' || names.length > 1) throw this.#tokens.error(`too many declarations in ${context}`)
      if (!['variable', 'rightDelim', 'rightParen'].includes(this.#tokens.peekSignificant().type)) {
        throw this.#tokens.error('range can only initialize variables')
      }
    }
  }

  #command(): CommandNode {
    const { position } = this.#tokens.peekSignificant()
    const operands: OperandNode[] = []
    for (;;) {
      this.#tokens.peekSignificant()
      const operand = this.#operand()
      if (operand !== null) operands.push(operand)
      const token = this.#tokens.next()
      if (token.type === 'space') continue
      if (token.type === 'rightDelim' || token.type === 'rightParen') this.#tokens.back()
      else if (token.type !== 'pipe') throw this.#tokens.unexpected(token, 'operand')
      if (operands.length === 0) throw this.#tokens.error('empty command')
      return { kind: 'command', position, operands }
    }
  }

  /** A term and the fields after it. */
  #operand(): OperandNode | null {
    const term = this.#term()
    if (term === null || this.#tokens.peek().type !== 'field') return term
    const { position } = this.#tokens.peek()
    const names: string[] = []
    while (this.#tokens.peek().type === 'field') names.push(this.#tokens.next().text.slice(1))
    switch (term.kind) {
      case 'field':
        return { kind: 'field', position, names: [...term.names, ...names] }
      case 'variable':
        return { kind: 'variable', position, name: term.name, names: [...term.names, ...names] }
      case 'constant':
        throw this.#tokens.error(`unexpected . after term ${JSON.stringify(term.text)}`)
      case 'dot':
      case 'nil':
        throw this.#tokens.error(`unexpected . after term "${term.kind === 'dot' ? '.' : 'nil'}"`)
      default:
        return { kind: 'chain', position, operand: term, names }
    }
  }

  #term(): OperandNode | null {
    const token = this.#tokens.nextSignificant()
    const { position, text } = token
    switch (token.type) {
      case 'identifier':
        if (!this.#isFunction(text)) throw this.#tokens.error(`function ${JSON.stringify(text)} not defined`)
        return { kind: 'identifier', position, name: text }
      case '.':
        return { kind: 'dot', position }
      case 'nil':
        return { kind: 'nil', position }
      case 'variable':
        if (!this.#variables.includes(text)) throw this.#undefined(text)
        return { kind: 'variable', position, name: text, names: [] }
      case 'field':
        return { kind: 'field', position, names: [text.slice(1)] }
      case 'bool':
      case 'charConstant':
      case 'number':
      case 'string':
      case 'rawString':
        return this.#constantNode(token)
      case 'leftParen': {
        if (++this.#nesting > NESTING_LIMIT) throw this.#tokens.error(`nested deeper than ${NESTING_LIMIT}`)
        const pipe = this.#pipeline('parenthesized pipeline', 'rightParen')
        this.#nesting--
        return pipe
      }
      default:
        this.#tokens.back()
        return null
    }
  }

  #constantNode({ type, text, position }: Token): ConstantNode {
    if (type === 'bool') return { kind: 'constant', type: 'bool', value: text === 'true', text, position }
    if (type === 'string' || type === 'rawString') {
      return { kind: 'constant', type: 'string', value: this.#constant(() => unquote(text)), text, position }
    }
    const value = this.#constant(() => (type === 'charConstant' ? readCharacter(text) : readNumber(text)))
    return { kind: 'constant', type: 'number', value, text, position }
  }

  #constant<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      if (error instanceof ConstantError) throw this.#tokens.error(error.message)
      throw error
    }
  }

  #undefined(name: string): Error {
    return this.#tokens.error(`undefined variable ${JSON.stringify(name)}`)
  }
}

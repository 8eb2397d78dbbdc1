import type { Budget } from './budget.ts'
import type { TemplateFunction } from './functions.ts'
import {
  type BranchNode,
  type CommandNode,
  type FailingNode,
  type OperandNode,
  type PipeNode,
  printNode,
  type Statement,
  type TemplateNode,
} from './node.ts'
import type { ParsedTemplate } from './parser.ts'
import { printValue } from './print-value.ts'
import { TemplateError } from './template-error.ts'
import {
  isList,
  isMap,
  isStruct,
  isTrue,
  kindOf,
  Method,
  type ParameterType,
  sortedKeys,
  typeName,
  type Value,
} from './value.ts'

/** What a pipeline hands to the next command; `none`: this is the first. */
const none = Symbol('none')
type Final = Value | typeof none

/** How a list of statements ended. */
type Flow = 'next' | 'break' | 'continue'

interface Variable {
  readonly name: string
  value: Value
}

/** One execution of a template. */
export class Executor {
  readonly #template: ParsedTemplate
  readonly #budget: Budget
  readonly #rootType: string
  readonly #functions: ReadonlyMap<string, TemplateFunction>
  readonly #root: Value
  #variables: Variable[]
  #output: string[] = []
  /** Go's errors name the node that was last looked at. */
  #node: FailingNode | null = null
  /** The template that is executed: empty for the text itself. */
  #name = ''
  #depth = 0

  /** `rootType`: what errors call the type of `root`. */
  constructor(
    template: ParsedTemplate,
    root: Value,
    rootType: string,
    budget: Budget,
    functions: ReadonlyMap<string, TemplateFunction>,
  ) {
    this.#functions = functions
    this.#template = template
    this.#root = root
    this.#rootType = rootType
    this.#budget = budget
    this.#variables = [{ name: '$', value: root }]
  }

  /** The text. @throws {TemplateError} as Go words it, with the place: `:1:2: executing "" at <.Foo>: can't …` */
  run(): string {
    try {
      this.#walk(this.#root, this.#template.body)
    } catch (error) {
      if (error instanceof TemplateError) throw new TemplateError(this.#placed(error.message))
      throw error
    }
    return this.#output.join('')
  }

  /** What was written before the error, as Go's programs have written it by then. */
  get output(): string {
    return this.#output.join('')
  }

  #placed(message: string): string {
    if (this.#node === null) return `executing ${JSON.stringify(this.#name)}: ${message}`
    const before = this.#template.text.slice(0, this.#node.position)
    const line = before.split('\n').length
    const column = Buffer.byteLength(before.slice(before.lastIndexOf('\n') + 1))
    return `:${line}:${column}: executing ${JSON.stringify(this.#name)} at <${printNode(this.#node)}>: ${message}`
  }

  #write(text: string): void {
    this.#budget.text(text.length)
    this.#output.push(text)
  }

  #walk(dot: Value, statements: readonly Statement[]): Flow {
    for (const statement of statements) {
      this.#budget.step()
      const flow = this.#statement(dot, statement)
      if (flow !== 'next') return flow
    }
    return 'next'
  }

  #statement(dot: Value, statement: Statement): Flow {
    switch (statement.kind) {
      case 'text':
        this.#write(statement.text)
        return 'next'
      case 'action': {
        const value = this.#pipe(dot, statement.pipe)
        if (statement.pipe.variables.length === 0) this.#print(value)
        return 'next'
      }
      case 'if':
      case 'with':
        return this.#scoped(() => {
          const value = this.#pipe(dot, statement.pipe)
          if (!isTrue(value)) return this.#walk(dot, statement.otherwise)
          return this.#walk(statement.kind === 'with' ? value : dot, statement.body)
        })
      case 'range':
        return this.#scoped(() => this.#range(dot, statement))
      case 'template':
        this.#call(dot, statement)
        return 'next'
      default:
        return statement.kind
    }
  }

  #print(value: Value): void {
    if (value instanceof Method) throw new TemplateError(`can't print func of type ${typeName(value)}`)
    this.#write(value === undefined ? '<no value>' : printValue(value, this.#budget))
  }

  /** What is declared inside ends with it. */
  #scoped(run: () => Flow): Flow {
    const count = this.#variables.length
    const flow = run()
    this.#variables.length = count
    return flow
  }

  #range(dot: Value, { pipe, body, otherwise }: BranchNode): Flow {
    const value = this.#pipe(dot, pipe, true)
    let isEmpty = true
    for (const [key, item] of this.#itemsOf(value, pipe.variables.length > 1)) {
      isEmpty = false
      this.#budget.step()
      const flow = this.#scoped(() => {
        this.#bind(pipe, key, item)
        return this.#walk(item, body)
      })
      if (flow === 'break') break
    }
    return isEmpty ? this.#walk(dot, otherwise) : 'next'
  }

  #bind({ variables, isAssignment }: PipeNode, key: Value, item: Value): void {
    const values = variables.length > 1 ? [key, item] : [item]
    for (const [index, name] of variables.entries()) {
      if (isAssignment) this.#assign(name, values[index])
      else this.#variables.push({ name, value: values[index] })
    }
  }

  *#itemsOf(value: Value, isPair: boolean): Generator<readonly [key: Value, item: Value]> {
    if (value === undefined || value === null) return
    if (isList(value)) yield* value.entries()
    else if (isMap(value)) for (const key of sortedKeys(value)) yield [key, value.get(key)]
    else if (typeof value === 'number' && Number.isInteger(value)) {
      if (isPair) throw new TemplateError(`can't use ${value} to iterate over more than one variable`)
      for (let item = 0; item < value; item++) yield [item, item]
    } else throw new TemplateError(`range can't iterate over ${printValue(value, this.#budget)}`)
  }

  #call(dot: Value, node: TemplateNode): void {
    this.#node = node
    const body = this.#template.defined.get(node.name)
    if (body === undefined) throw new TemplateError(`template ${JSON.stringify(node.name)} not defined`)
    const { depth } = this.#budget.limits
    if (this.#depth === depth) throw new TemplateError(`exceeded maximum template depth (${depth})`)
    const value = node.pipe === null ? undefined : this.#pipe(dot, node.pipe)
    const [variables, name] = [this.#variables, this.#name]
    this.#variables = [{ name: '$', value }]
    this.#name = node.name
    this.#depth++
    this.#walk(value, body)
    this.#depth--
    this.#variables = variables
    this.#name = name
  }

  /** The value of a pipeline; it sets its variables, unless `range` does for each item. */
  #pipe(dot: Value, pipe: PipeNode, isRange = false): Value {
    this.#node = pipe
    let final: Final = none
    for (const command of pipe.commands) final = this.#command(dot, command, final)
    const value = final === none ? undefined : final
    if (isRange) return value
    for (const name of pipe.variables) {
      if (pipe.isAssignment) this.#assign(name, value)
      else this.#variables.push({ name, value })
    }
    return value
  }

  #assign(name: string, value: Value): void {
    const variable = this.#variables.findLast(each => each.name === name)
    if (variable === undefined) throw new TemplateError(`undefined variable: ${name}`)
    variable.value = value
  }

  #command(dot: Value, command: CommandNode, final: Final): Value {
    this.#budget.step()
    const [first, ...rest] = command.operands
    if (first === undefined) throw new TemplateError('empty command')
    switch (first.kind) {
      case 'identifier':
        return this.#function(dot, first.name, first, command, rest, final)
      case 'pipe':
        this.#refuseArguments(rest, final, first)
        return this.#pipe(dot, first)
      case 'field':
      case 'variable':
      case 'chain':
        return this.#path(dot, first, rest, final)
      default:
        this.#node = first
        this.#refuseArguments(rest, final, first)
        if (first.kind === 'nil') throw new TemplateError('nil is not a command')
        return this.#operand(dot, first)
    }
  }

  #refuseArguments(rest: readonly OperandNode[], final: Final, first: OperandNode): void {
    if (rest.length === 0 && final === none) return
    throw new TemplateError(`can't give argument to non-function ${printNode(first)}`)
  }

  #operand(dot: Value, node: OperandNode): Value {
    this.#node = node
    switch (node.kind) {
      case 'constant':
        return node.value
      case 'dot':
        return dot
      case 'nil':
        return undefined
      case 'identifier':
        return this.#function(dot, node.name, node, node, [], none)
      case 'pipe':
        return this.#pipe(dot, node)
      default:
        return this.#path(dot, node, [], none)
    }
  }

  /** `.A.B`, `$x.A` or `(…).A`, the last of which may be a method with arguments. */
  #path(dot: Value, node: PathNode, rest: readonly OperandNode[], final: Final): Value {
    this.#node = node
    const start = this.#startOf(dot, node)
    if (node.names.length === 0) {
      this.#refuseArguments(rest, final, node)
      return start
    }
    let value = start
    for (const [index, name] of node.names.entries()) {
      const isLast = index === node.names.length - 1
      value = this.#field(dot, value, name, isLast ? rest : [], isLast ? final : none)
    }
    return value
  }

  #startOf(dot: Value, node: PathNode): Value {
    if (node.kind === 'field') return dot
    if (node.kind === 'chain') {
      if (node.operand.kind === 'nil') throw new TemplateError(`indirection through explicit nil in ${printNode(node)}`)
      return this.#operand(dot, node.operand)
    }
    return this.#variables.findLast(each => each.name === node.name)?.value
  }

  #field(dot: Value, receiver: Value, name: string, rest: readonly OperandNode[], final: Final): Value {
    const hasArguments = rest.length > 0 || final !== none
    if (receiver === undefined) return undefined
    if (receiver === null) throw new TemplateError(`nil pointer evaluating struct.${name}`)
    if (isMap(receiver)) {
      if (hasArguments) throw new TemplateError(`${name} is not a method but has arguments`)
      return receiver.get(name)
    }
    if (!isStruct(receiver) || !Object.hasOwn(receiver, name)) {
      throw new TemplateError(`can't evaluate field ${name} in type ${this.#typeOf(receiver)}`)
    }
    const value = receiver[name]
    if (value instanceof Method) return this.#method(dot, name, value, rest, final)
    if (hasArguments) throw new TemplateError(`${name} has arguments but cannot be invoked as function`)
    return value
  }

  #method(dot: Value, name: string, method: Method, rest: readonly OperandNode[], final: Final): Value {
    const values = this.#arguments(dot, name, { parameters: method.parameters, isVariadic: false }, rest, final)
    return method.call(...values.map(String))
  }

  #typeOf(value: Value): string {
    return value === this.#root && isStruct(value) ? this.#rootType : typeName(value)
  }

  #function(
    dot: Value,
    name: string,
    identifier: OperandNode,
    whole: CommandNode | OperandNode,
    rest: readonly OperandNode[],
    final: Final,
  ): Value {
    this.#node = identifier
    const definition = this.#functions.get(name)
    if (definition === undefined) throw new TemplateError(`${JSON.stringify(name)} is not a defined function`)
    if (definition.stopsAt !== undefined) return this.#logic(dot, name, definition.stopsAt, rest, final)
    const values = this.#arguments(dot, name, definition, rest, final)
    try {
      return definition.call(values, this.#budget)
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error
      this.#node = whole
      throw new TemplateError(`error calling ${name}: ${error.message}`)
    }
  }

  /** `and` and `or`: the first value that decides, and nothing after it is evaluated. */
  #logic(dot: Value, name: string, stopsAt: boolean, rest: readonly OperandNode[], final: Final): Value {
    if (rest.length === 0 && final === none) {
      throw new TemplateError(`wrong number of args for ${name}: want at least 1 got 0`)
    }
    let value: Value
    for (const operand of rest) {
      value = this.#operand(dot, operand)
      if (isTrue(value) === stopsAt) return value
    }
    return final === none ? value : final
  }

  #arguments(
    dot: Value,
    name: string,
    { parameters, isVariadic }: Pick<TemplateFunction, 'parameters' | 'isVariadic'>,
    rest: readonly OperandNode[],
    final: Final,
  ): readonly Value[] {
    const count = rest.length + (final === none ? 0 : 1)
    const least = isVariadic ? parameters.length - 1 : parameters.length
    if (count < least || (!isVariadic && count > least)) {
      const want = isVariadic ? `at least ${least}` : least
      throw new TemplateError(`wrong number of args for ${name}: want ${want} got ${count}`)
    }
    const typeAt = (index: number): ParameterType => parameters[Math.min(index, parameters.length - 1)] ?? 'any'
    const values = rest.map((operand, index) => this.#argument(dot, operand, typeAt(index)))
    return final === none ? values : [...values, checked(final, typeAt(rest.length))]
  }

  #argument(dot: Value, node: OperandNode, type: ParameterType): Value {
    this.#node = node
    if (type === 'any') return this.#operand(dot, node)
    if (node.kind === 'nil' && type !== 'strings') throw new TemplateError(`cannot assign nil to ${type}`)
    if (node.kind !== 'constant') return checked(this.#operand(dot, node), type)
    if (type === 'strings') throw new TemplateError(`can't handle ${printNode(node)} for arg of type []string`)
    if (kindOf(node.value) === type) return node.value
    throw new TemplateError(`expected ${type === 'int' ? 'integer' : type}; found ${printNode(node)}`)
  }
}

type PathNode = Extract<OperandNode, { readonly names: readonly string[] }>

function checked(value: Value, type: ParameterType): Value {
  if (type === 'any' || kindOf(value) === type) return value
  if (type === 'strings') {
    if (value === null || value === undefined) return []
    if (isList(value) && value.every(each => typeof each === 'string')) return value
  }
  const wanted = type === 'strings' ? '[]string' : type
  if (value === undefined) throw new TemplateError(`invalid value; expected ${wanted}`)
  throw new TemplateError(`wrong type for value; expected ${wanted}; got ${typeName(value)}`)
}

import { BerthError } from '../lib/error.ts'
import { nearestName } from '../lib/nearest-name.ts'

/** One option of a command. */
export interface Option {
  readonly name: string
  readonly short?: string
  /** `flag` takes no value, `value` one, `values` one each time it is given. */
  readonly kind: 'flag' | 'value' | 'values'
  /** What the value is called in the help. */
  readonly value?: string
  readonly help: string
}

/** What a command accepts. */
export interface Grammar {
  /** How it is called after `berth`: `run`, `runtime create`; empty: `berth` itself. */
  readonly name: string
  /** The operands, for the usage line: `IMAGE [COMMAND [ARG...]]`. */
  readonly operands: string
  readonly help: string
  readonly options: readonly Option[]
  /** Options end at the first operand, because what follows belongs to somebody else's command line. */
  readonly stopAtOperand?: boolean
}

/** Bad usage of a command: the message and where to read more. */
export class UsageError extends BerthError {
  override readonly name = 'UsageError'

  constructor(grammar: Pick<Grammar, 'name'>, message: string) {
    super('invalidArgument', `${message}; see "${['berth', grammar.name].filter(Boolean).join(' ')} --help"`)
  }
}

/** The options of one call. */
export class ParsedOptions {
  readonly operands: readonly string[]
  readonly #values: ReadonlyMap<string, readonly string[]>

  constructor(values: ReadonlyMap<string, readonly string[]>, operands: readonly string[]) {
    this.#values = values
    this.operands = operands
  }

  /** Whether a flag is on. The last one given wins: `--tty --tty=false` is off. */
  flag(name: string): boolean {
    return this.value(name) === 'true'
  }

  /** The last value given. */
  value(name: string): string | undefined {
    return this.#values.get(name)?.at(-1)
  }

  /** All values given, in order. */
  values(name: string): readonly string[] {
    return this.#values.get(name) ?? []
  }
}

/**
 * Reads a command line: `--name value`, `--name=value`, `-n value`, `-nvalue`, bundled flags `-it`, `--` to end the options.
 * @throws {UsageError} an unknown option, a missing or a superfluous value
 */
export function parseOptions(grammar: Grammar, args: readonly string[]): ParsedOptions {
  const values = new Map<string, string[]>()
  const operands: string[] = []
  const rest = [...args]
  const add = (option: Option, value: string): void => {
    values.set(option.name, [...(values.get(option.name) ?? []), value])
  }
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === '--') {
      operands.push(...rest.splice(0))
    } else if (arg.startsWith('--')) {
      readLong(grammar, arg, rest, add)
    } else if (arg.startsWith('-') && arg !== '-') {
      readShort(grammar, arg, rest, add)
    } else {
      operands.push(arg)
      if (grammar.stopAtOperand === true) operands.push(...rest.splice(0))
    }
  }
  return new ParsedOptions(values, operands)
}

type Add = (option: Option, value: string) => void

function readLong(grammar: Grammar, arg: string, rest: string[], add: Add): void {
  const equals = arg.indexOf('=')
  const name = equals === -1 ? arg.slice(2) : arg.slice(2, equals)
  const option = grammar.options.find(each => each.name === name)
  if (option === undefined) throw new UsageError(grammar, unknownOption(grammar, name))
  if (equals !== -1) add(option, checkFlag(grammar, option, arg.slice(equals + 1)))
  else add(option, option.kind === 'flag' ? 'true' : valueFor(grammar, option, rest))
}

function unknownOption({ name: command, options }: Grammar, name: string): string {
  const meant = nearestName(
    name,
    options.map(each => each.name),
  )
  const hint = meant === null ? '' : `, did you mean "--${meant}"?`
  return `Cannot use option "--${name}": ${command || 'berth'} has none of that name${hint}`
}

function readShort(grammar: Grammar, arg: string, rest: string[], add: Add): void {
  for (let at = 1; at < arg.length; at++) {
    const letter = arg[at]
    const option = grammar.options.find(each => each.short === letter)
    if (option === undefined)
      throw new UsageError(grammar, `Cannot use option "-${letter}": ${grammar.name || 'berth'} has none of that name`)
    if (option.kind === 'flag') {
      add(option, 'true')
      continue
    }
    const attached = arg.slice(at + 1).replace(/^=/, '')
    add(option, attached === '' ? valueFor(grammar, option, rest) : attached)
    return
  }
}

function valueFor(grammar: Grammar, option: Option, rest: string[]): string {
  const value = rest.shift()
  if (value === undefined) throw new UsageError(grammar, `Cannot use option "--${option.name}": it needs a value`)
  return value
}

function checkFlag(grammar: Grammar, option: Option, value: string): string {
  if (option.kind !== 'flag') return value
  if (value === 'true' || value === '1') return 'true'
  if (value === 'false' || value === '0') return 'false'
  throw new UsageError(grammar, `Cannot use option "--${option.name}": "${value}" is neither true nor false`)
}

/** The help text of a command. */
export function helpText(grammar: Grammar, program: string): string {
  const rows = grammar.options.map(option => {
    const short = option.short === undefined ? '    ' : `-${option.short}, `
    return [
      `  ${short}--${option.name}${option.kind === 'flag' ? '' : ` ${option.value ?? 'VALUE'}`}`,
      option.help,
    ] as const
  })
  const width = Math.max(0, ...rows.map(([left]) => left.length))
  const options = rows.map(([left, help]) => `${left.padEnd(width)}  ${help}`)
  const usage = [program, grammar.name, options.length > 0 ? '[OPTIONS]' : '', grammar.operands]
    .filter(Boolean)
    .join(' ')
  return `Usage: ${usage}\n\n${grammar.help}\n${options.length > 0 ? `\nOptions:\n${options.join('\n')}\n` : ''}`
}

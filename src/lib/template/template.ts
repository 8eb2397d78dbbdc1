import { BerthError } from '../error.ts'
import { Budget, DEFAULT_TEMPLATE_LIMITS, type TemplateLimits } from './budget.ts'
import { Executor } from './executor.ts'
import { TEMPLATE_FUNCTIONS, TITLE_FUNCTIONS } from './functions.ts'
import { type ParsedTemplate, parseTemplate } from './parser.ts'
import { TemplateError } from './template-error.ts'
import { TemplateSyntaxError } from './token-reader.ts'
import type { Value } from './value.ts'

/** How a template is executed. */
export interface ExecuteOptions {
  /** What errors call the type of the value: `image`. */
  readonly typeName?: string
  readonly limits?: TemplateLimits
}

/**
 * A Go template (text/template) with the functions of Docker's command line, as `--format` takes it.
 * Not supported are complex numbers and methods of Go's types. Source: Go's text/template.
 */
export class Template {
  readonly #parsed: ParsedTemplate

  private constructor(parsed: ParsedTemplate) {
    this.#parsed = parsed
  }

  /** @throws {BerthError} invalidArgument, with the line and Go's words for what is wrong there */
  static parse(text: string): Template {
    try {
      return new Template(parseTemplate(text, name => TEMPLATE_FUNCTIONS.has(name)))
    } catch (error) {
      if (!(error instanceof TemplateSyntaxError)) throw error
      throw unusable(text, `template: :${error.message}`)
    }
  }

  /** The text for a value. @throws {BerthError} invalidArgument, with the position and Go's words */
  execute(value: Value, options: ExecuteOptions = {}): string {
    const [executor, failure] = this.#run(value, options)
    if (failure !== null) throw unusable(this.#parsed.text, `template: ${failure.message}`)
    return executor.output
  }

  /**
   * The titles of a table whose rows the template is for, from the titles of the fields: up to the first error, as what is
   * right for rows need not be for titles. Functions that change values leave titles as they are.
   */
  executeForTitles(titles: ReadonlyMap<string, string>): string {
    return this.#run(titles, {}, TITLE_FUNCTIONS)[0].output
  }

  #run(
    value: Value,
    { typeName = 'struct', limits = DEFAULT_TEMPLATE_LIMITS }: ExecuteOptions,
    functions = TEMPLATE_FUNCTIONS,
  ) {
    const executor = new Executor(this.#parsed, value, typeName, new Budget(limits), functions)
    try {
      executor.run()
      return [executor, null] as const
    } catch (error) {
      if (error instanceof TemplateError) return [executor, error] as const
      throw error
    }
  }
}

const SHOWN_LENGTH = 200

function unusable(text: string, why: string): BerthError {
  const shown = text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text
  return new BerthError('invalidArgument', `Cannot use template "${shown}": ${why}`)
}

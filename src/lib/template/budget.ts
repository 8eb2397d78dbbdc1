import { TemplateError } from './template-error.ts'

/** How much one execution may do. */
export interface TemplateLimits {
  /** Nodes evaluated and values printed. */
  readonly steps: number
  /** UTF-16 units written, those of intermediate texts included. */
  readonly outputLength: number
  /** Templates called inside each other. */
  readonly depth: number
}

/** Far above what a listing needs, and over within seconds: a template may come from a configuration that somebody else wrote. */
export const DEFAULT_TEMPLATE_LIMITS: TemplateLimits = { steps: 5_000_000, outputLength: 64 * 1024 * 1024, depth: 100 }

/** What is left of the limits. */
export class Budget {
  readonly limits: TemplateLimits
  #steps = 0
  #outputLength = 0

  constructor(limits: TemplateLimits) {
    this.limits = limits
  }

  /** Counts a step. @throws {TemplateError} */
  step(): void {
    if (++this.#steps > this.limits.steps) throw new TemplateError(`exceeded ${this.limits.steps} steps`)
  }

  /** Counts text before it is made. @throws {TemplateError} */
  text(length: number): void {
    this.#outputLength += length
    if (this.#outputLength > this.limits.outputLength) {
      throw new TemplateError(`exceeded ${this.limits.outputLength} characters of output`)
    }
  }
}

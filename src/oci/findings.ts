/** What a check of a config has found, collected so that one run names everything that is wrong. */

import { BerthError } from '../lib/error.ts'

/** Collects problems and warnings under the path of the property each is about. */
export class Findings {
  readonly #problems: string[] = []
  readonly #warnings: string[] = []

  /** What makes the config unusable: `linux.namespaces[2]` `is a second "pid"`. */
  problem(path: string, state: string): void {
    this.#problems.push(`${path} ${state}`)
  }

  /** What will not be as the config asks, though the container can run. */
  warning(path: string, state: string): void {
    this.#warnings.push(`${path} ${state}`)
  }

  get problems(): readonly string[] {
    return this.#problems
  }

  get warnings(): readonly string[] {
    return this.#warnings
  }

  /**
   * Ends the check of `name`, such as `config.json`.
   * @throws {BerthError} invalidArgument with the first problem and how many more there are.
   */
  throwFirst(name: string): void {
    const [first, ...more] = this.#problems
    if (first === undefined) return
    const count = more.length === 0 ? '' : ` (and ${more.length} more ${more.length === 1 ? 'problem' : 'problems'})`
    throw new BerthError('invalidArgument', `Cannot run ${name}: ${first}${count}`)
  }
}

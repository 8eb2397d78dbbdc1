import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** What a suite has to say. */
export interface SuiteReport {
  /** Markdown with headings of the second level. */
  readonly sections: string
  /** Rows of the summary: title, target, measured, verdict. */
  readonly rows: readonly string[]
}

/** A report with the circumstances under which it was made. */
export interface SavedReport extends SuiteReport {
  /** An ISO date. */
  readonly date: string
  /** The release of the kernel: reports of several machines can stand in one document. */
  readonly kernel: string
  /** Averages of the minute before and of the one at the end; a suite of its own on two cores makes about 2. */
  readonly load: { readonly before: number; readonly after: number }
  readonly seconds: number
}

/** Reports on the disk, so that suites can be run one at a time and a run that was stopped goes on. */
export class SavedReports {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
    mkdirSync(directory, { recursive: true })
  }

  find(suite: string): SavedReport | null {
    try {
      return JSON.parse(readFileSync(this.#pathOf(suite), 'utf8')) as SavedReport
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
  }

  save(suite: string, report: SavedReport): void {
    const path = this.#pathOf(suite)
    writeFileSync(`${path}.new`, JSON.stringify(report))
    renameSync(`${path}.new`, path)
  }

  remove(suite: string): void {
    rmSync(this.#pathOf(suite), { force: true })
  }

  #pathOf(suite: string): string {
    return join(this.#directory, `${suite}.json`)
  }
}

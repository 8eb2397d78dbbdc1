import { closeSync, openSync, writeSync } from 'node:fs'
import { BerthError, messageOf } from '../../lib/error.ts'

/** `--log`, `--log-format` (`text` or `json`) and `--debug`. */
export interface LogOptions {
  /** Null: standard error. */
  readonly path: string | null
  readonly format: string
  readonly debug: boolean
}

/** The runtime's log in runc's two formats; engines read the last line of a JSON log to tell why a command failed. */
export class Log implements Disposable {
  readonly #fd: number
  readonly #options: LogOptions

  /** @throws {BerthError} invalidArgument: an unknown format; unavailable: the file can't be opened */
  constructor(options: LogOptions) {
    if (options.format !== 'text' && options.format !== 'json')
      throw new BerthError('invalidArgument', `Cannot use log format "${options.format}": expected text or json`)
    this.#options = options
    try {
      this.#fd = options.path === null ? 2 : openSync(options.path, 'a', 0o644)
    } catch (error) {
      throw new BerthError('unavailable', `Cannot open log "${options.path}": ${messageOf(error)}`, { cause: error })
    }
  }

  warn(message: string): void {
    this.#write('warning', message)
  }

  debug(message: string): void {
    if (this.#options.debug) this.#write('debug', message)
  }

  /** Logs why the command failed, and says it on standard error too when the log is elsewhere. */
  failure(error: unknown): void {
    const text = messageOf(error)
    const message = error instanceof BerthError || !(error instanceof Error) ? text : `${text}\n${error.stack ?? ''}`
    this.#write('error', message)
    if (this.#options.path !== null) writeSync(2, `berth: ${message}\n`)
  }

  #write(level: string, msg: string): void {
    const time = new Date().toISOString()
    if (this.#options.format === 'json') writeSync(this.#fd, `${JSON.stringify({ level, msg, time })}\n`)
    else if (this.#options.path === null) writeSync(2, `berth: ${level === 'error' ? '' : `${level}: `}${msg}\n`)
    else writeSync(this.#fd, `time=${JSON.stringify(time)} level=${level} msg=${JSON.stringify(msg)}\n`)
  }

  [Symbol.dispose](): void {
    if (this.#options.path !== null) closeSync(this.#fd)
  }
}

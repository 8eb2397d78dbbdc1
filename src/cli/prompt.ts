import { silentTerminal } from '../host/terminal.ts'
import { BerthError } from '../lib/error.ts'

/** A user name or a password is not longer; what is, is a mistake. */
const LINE_LIMIT = 64 * 1024

/** Asks a person at the terminal, one line per question. Disposing lets go of standard input. */
export class Prompt implements Disposable {
  readonly #signal: AbortSignal
  #typed = ''

  constructor(signal: AbortSignal) {
    this.#signal = signal
  }

  /** The line that is typed after a question. @throws {BerthError} cancelled; invalidArgument: no line comes */
  async ask(question: string): Promise<string> {
    process.stdout.write(question)
    return await this.#line()
  }

  /** The same without showing what is typed. */
  async askSecret(question: string): Promise<string> {
    // First silence, then the question: whoever types at once would be seen.
    await using _silence = await silentTerminal()
    process.stdout.write(question)
    return await this.#line()
  }

  [Symbol.dispose](): void {
    process.stdin.pause()
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#typed.indexOf('\n')
      if (end >= 0) {
        const line = this.#typed.slice(0, end)
        this.#typed = this.#typed.slice(end + 1)
        return line.replace(/\r$/, '')
      }
      if (this.#typed.length > LINE_LIMIT)
        throw new BerthError('invalidArgument', `Cannot read a line of standard input: more than ${LINE_LIMIT} bytes`)
      this.#typed += await this.#more()
    }
  }

  #more(): Promise<string> {
    const { stdin } = process
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        stdin.pause()
        stdin.off('data', onData).off('end', onEnd)
        this.#signal.removeEventListener('abort', onAbort)
        act()
      }
      const onData = (bytes: Buffer): void => settle(() => resolve(bytes.toString('utf8')))
      const onEnd = (): void =>
        settle(() => reject(new BerthError('invalidArgument', 'Cannot read a line of standard input: it has ended')))
      const onAbort = (): void => settle(() => reject(this.#signal.reason))
      if (this.#signal.aborted) return reject(this.#signal.reason)
      stdin.on('data', onData).on('end', onEnd)
      this.#signal.addEventListener('abort', onAbort)
      stdin.resume()
    })
  }
}

/** All of standard input, without the line end that `echo` adds. @throws {BerthError} invalidArgument: too long */
export async function readSecretInput(signal: AbortSignal): Promise<string> {
  const pieces: Uint8Array[] = []
  let total = 0
  const stop = (): void => void process.stdin.destroy()
  signal.addEventListener('abort', stop, { once: true })
  try {
    for await (const piece of process.stdin as AsyncIterable<Uint8Array>) {
      pieces.push(piece)
      total += piece.length
      if (total > LINE_LIMIT)
        throw new BerthError('invalidArgument', `Cannot read standard input: more than ${LINE_LIMIT} bytes`)
    }
  } finally {
    signal.removeEventListener('abort', stop)
    signal.throwIfAborted()
  }
  return Buffer.concat(pieces)
    .toString('utf8')
    .replace(/\r?\n$/, '')
}

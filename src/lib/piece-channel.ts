/**
 * Hands pieces of bytes from one who brings them to one who reads them, in order. The bringer waits while more than
 * `limitBytes` are on their way; what comes after the reader has gone is dropped.
 */
export class PieceChannel {
  readonly #limitBytes: number
  readonly #pieces: Uint8Array[] = []
  #bytes = 0
  #end: { readonly error: unknown } | 'complete' | null = null
  #isReaderGone = false
  #wake: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  /** Adds a piece, which must not be changed afterwards. Fulfilled when there is room for another. */
  async push(piece: Uint8Array): Promise<void> {
    if (this.#isReaderGone) return
    this.#pieces.push(piece)
    this.#bytes += piece.length
    this.#notify()
    while (this.#bytes > this.#limitBytes && !this.#isReaderGone) await this.#wake.promise
  }

  /** There are no more pieces. */
  complete(): void {
    this.#finish('complete')
  }

  /** There are no more pieces, since something is wrong: the reader gets the error, pieces on their way or not. */
  fail(error: unknown): void {
    this.#finish({ error })
  }

  /** Nobody reads (any more). */
  drop(): void {
    this.#isReaderGone = true
    this.#pieces.length = 0
    this.#notify()
  }

  /** The pieces; to be called once. */
  async *read(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const end = this.#end
        if (end !== null && end !== 'complete') throw end.error
        const piece = this.#pieces.shift()
        if (piece !== undefined) {
          this.#bytes -= piece.length
          this.#notify()
          yield piece
        } else if (end === 'complete') return
        else await this.#wake.promise
      }
    } finally {
      this.drop()
    }
  }

  #finish(end: { readonly error: unknown } | 'complete'): void {
    this.#end ??= end
    this.#notify()
  }

  #notify(): void {
    const { resolve } = this.#wake
    this.#wake = Promise.withResolvers()
    resolve()
  }
}

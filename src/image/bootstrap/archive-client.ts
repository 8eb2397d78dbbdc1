import { BerthError, messageOf } from '../../lib/error.ts'
import { digestHex } from '../../oci/digest.ts'
import type { ReleaseFile } from './release-file.ts'

/** Enough for a release file (Debian's have 150 KB) and its signatures. */
const RELEASE_LIMIT_BYTES = 16 * 1024 * 1024
const ATTEMPTS = 4
const FIRST_WAIT_MS = 250
/** Without a byte for so long a connection counts as broken. */
const IDLE_LIMIT_MS = 30_000

/** A failure that another attempt may not have. */
class PassingError extends BerthError {}

/**
 * Fetches files of a package archive over HTTP. Who says what is in a file is the signed release: everything else is verified against it, so
 * that plain HTTP, mirrors and caches do no harm.
 */
export class ArchiveClient {
  /** A suite's release file, which verifies itself. @throws {BerthError} notFound; unavailable; cancelled */
  async release(url: string, signal?: AbortSignal): Promise<string> {
    return await this.#attempts(url, signal, async () => {
      const pieces: Uint8Array[] = []
      let total = 0
      for await (const piece of this.#get(url, signal)) {
        total += piece.length
        if (total > RELEASE_LIMIT_BYTES) throw unusable(url, `it has more than ${RELEASE_LIMIT_BYTES} bytes`)
        pieces.push(piece)
      }
      return Buffer.concat(pieces).toString('utf8')
    })
  }

  /**
   * Fetches a file of known digest. `onPiece` gets it piece by piece, and again from its beginning when an attempt failed, told by `onBegin`;
   * what it got counts only once this resolves.
   * @throws {BerthError} notFound; invalidArgument: of another size or digest; unavailable; cancelled
   */
  async file(url: string, expected: ReleaseFile, sink: ArchiveSink, signal?: AbortSignal): Promise<void> {
    await this.#attempts(url, signal, async () => {
      const hasher = new Bun.CryptoHasher('sha256')
      let total = 0
      await sink.begin()
      for await (const piece of this.#get(url, signal)) {
        total += piece.length
        if (total > expected.sizeBytes) throw unusable(url, `it has more than ${expected.sizeBytes} bytes`)
        hasher.update(piece)
        await sink.piece(piece)
      }
      const actual = hasher.digest('hex')
      if (total < expected.sizeBytes) throw new PassingError('unavailable', `Cannot fetch ${url}: it ended early`)
      if (actual !== digestHex(expected.digest)) throw unusable(url, `its content has the digest sha256:${actual}`)
    })
  }

  async #attempts<T>(url: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work()
      } catch (error) {
        if (signal?.aborted === true)
          throw new BerthError('cancelled', `Cannot fetch ${url}: cancelled`, { cause: error })
        if (!(error instanceof PassingError) || attempt === ATTEMPTS) throw error
        await Bun.sleep(FIRST_WAIT_MS * 2 ** attempt)
      }
    }
  }

  async *#get(url: string, cancel: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    const idle = new AbortController()
    const signal = cancel === undefined ? idle.signal : AbortSignal.any([idle.signal, cancel])
    const timer = setInterval(() => {
      if (Date.now() - lastMs > IDLE_LIMIT_MS) idle.abort(new Error('no byte came for 30 seconds'))
    }, 1000)
    let lastMs = Date.now()
    try {
      const response = await fetch(url, { signal, decompress: false, redirect: 'follow' })
      if (response.status === 404 || response.status === 410)
        throw new BerthError('notFound', `Cannot fetch ${url}: it is not there`)
      if (!response.ok || response.body === null) throw refused(url, response.status)
      for await (const piece of response.body) {
        lastMs = Date.now()
        yield piece
      }
    } catch (error) {
      if (error instanceof BerthError) throw error
      throw new PassingError('unavailable', `Cannot fetch ${url}: ${messageOf(error)}`, { cause: error })
    } finally {
      clearInterval(timer)
      idle.abort()
    }
  }
}

/** Where a file's bytes go. */
export interface ArchiveSink {
  /** Its first byte is to come, maybe again. */
  readonly begin: () => void | Promise<void>
  readonly piece: (bytes: Uint8Array) => void | Promise<void>
}

function refused(url: string, status: number): BerthError {
  const message = `Cannot fetch ${url}: the archive answers with HTTP status ${status}`
  return status >= 500 || status === 429
    ? new PassingError('unavailable', message)
    : new BerthError('unavailable', message)
}

function unusable(url: string, why: string): BerthError {
  return new BerthError('invalidArgument', `Cannot use ${url}: ${why}`)
}

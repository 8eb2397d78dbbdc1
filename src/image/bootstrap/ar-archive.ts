/**
 * The archive format of .deb files.
 * Source: deb(5), ar(5).
 *
 *     offset  size  field
 *          0    16  name, padded with spaces, maybe ended with "/"
 *         16    32  time, owner, group, mode: not looked at
 *         48    10  size in decimal, padded with spaces
 *         58     2  end of the header: "`\n"
 */
import { BerthError } from '../../lib/error.ts'

const MAGIC = '!<arch>\n'
const HEADER_BYTES = 60
const NAME = [0, 16] as const
const SIZE = [48, 58] as const
const END = [58, 60] as const

/** A member that is being read. Its content must be read before the next member is asked for, or is skipped. */
export interface ArMember {
  readonly name: string
  readonly sizeBytes: number
  readonly content: () => AsyncIterable<Uint8Array>
}

/** Reads the members of an archive in order. @throws {BerthError} invalidArgument: no archive, or cut off; whatever `pieces` throws */
export async function* readAr(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<ArMember> {
  const reader = new PieceReader(pieces)
  if ((await reader.text(MAGIC.length)) !== MAGIC) throw damaged('it does not begin as one')
  for (;;) {
    const header = await reader.text(HEADER_BYTES, 'may end')
    if (header === '') return
    const name = header
      .slice(...NAME)
      .trimEnd()
      .replace(/\/$/, '')
    const size = header.slice(...SIZE).trimEnd()
    if (header.slice(...END) !== '`\n' || !/^\d{1,10}$/.test(size)) throw damaged('a header is none')
    const sizeBytes = Number(size)
    let left = sizeBytes
    const content = async function* (): AsyncGenerator<Uint8Array> {
      while (left > 0) {
        const piece = await reader.piece(left)
        left -= piece.length
        yield piece
      }
    }
    yield { name, sizeBytes, content }
    for await (const _ of content());
    // Members begin at even offsets.
    if (sizeBytes % 2 === 1) await reader.text(1, 'may end')
  }
}

class PieceReader {
  readonly #pieces: AsyncIterator<Uint8Array>
  #held: Uint8Array = new Uint8Array(0)

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]()
  }

  /** At least one byte, at most `limit`. */
  async piece(limit: number): Promise<Uint8Array> {
    if (!(await this.#fill())) throw damaged('it is cut off')
    const piece = this.#held.subarray(0, limit)
    this.#held = this.#held.subarray(piece.length)
    return piece
  }

  /** `bytes` bytes as text; none at the end when it `may end` here. */
  async text(bytes: number, atEnd: 'may end' | 'is cut off' = 'is cut off'): Promise<string> {
    let text = ''
    while (text.length < bytes) {
      if (text === '' && atEnd === 'may end' && !(await this.#fill())) return ''
      text += Buffer.from(await this.piece(bytes - text.length)).toString('latin1')
    }
    return text
  }

  async #fill(): Promise<boolean> {
    while (this.#held.length === 0) {
      const next = await this.#pieces.next()
      if (next.done === true) return false
      this.#held = next.value
    }
    return true
  }
}

function damaged(why: string): BerthError {
  return new BerthError('invalidArgument', `Cannot read the package's archive: ${why}`)
}

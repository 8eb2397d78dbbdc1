/** Files that a stranger may have put there, opened so that none but a regular file is ever read. */
import { constants, type Stats } from 'node:fs'
import { type FileHandle, lstat, open } from 'node:fs/promises'
import { BerthError } from '../lib/error.ts'

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants

/** Larger pieces are read no faster, and each is memory of its own until it is collected. */
const PIECE_BYTES = 512 * 1024

/** A file handle that is closed where its variable ends. */
export interface OwnedFile extends AsyncDisposable {
  readonly handle: FileHandle
}

/** Hands a handle to `await using`. */
export function owned(handle: FileHandle): OwnedFile {
  return { handle, [Symbol.asyncDispose]: () => handle.close() }
}

/**
 * Opens a regular file, following no link in the last component; `shown` is its path in errors.
 * @throws {BerthError} notFound; invalidArgument: a link, a directory, a named pipe or a device
 */
export async function openRegularFile(path: string, shown: string, flags = O_RDONLY): Promise<OwnedFile> {
  // O_NONBLOCK: a named pipe must not make it wait.
  const handle = await openOnly(path, shown, flags | O_NONBLOCK)
  const stat = await handle.stat()
  if (stat.isFile()) return owned(handle)
  await handle.close()
  throw new BerthError('invalidArgument', `Cannot open "${shown}": it is no regular file`)
}

/** Opens a path whose last component is no link. @throws {BerthError} notFound, invalidArgument */
export async function openOnly(path: string, shown: string, flags: number): Promise<FileHandle> {
  try {
    return await open(path, flags | O_NOFOLLOW)
  } catch (error) {
    throw openError(error, shown)
  }
}

/** What a failed open(2) means for one who expected a file there. */
export function openError(error: unknown, shown: string): BerthError {
  const code = errorCode(error) ?? 'an unknown error'
  if (code === 'ENOENT') return new BerthError('notFound', `Cannot open "${shown}": it is not there`, { cause: error })
  const why = code === 'ELOOP' ? 'it is a link' : code === 'ENOTDIR' ? 'it is a link or no directory' : code
  return new BerthError('invalidArgument', `Cannot open "${shown}": ${why}`, { cause: error })
}

/** The errno's name of a failed call of node:fs; undefined for other errors. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** lstat(2), and null for what is not there. */
export async function lstatOrNull(path: string): Promise<Stats | null> {
  try {
    return await lstat(path)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null
    throw error
  }
}

/** The bytes from `start` to the end. The next piece is read while the last one is used. */
export async function* piecesOf(handle: FileHandle, start = 0): AsyncGenerator<Uint8Array> {
  let position = start
  const read = (): Promise<Uint8Array> => {
    const buffer = Buffer.allocUnsafeSlow(PIECE_BYTES)
    const reading = handle.read(buffer, 0, PIECE_BYTES, position).then(({ bytesRead }) => buffer.subarray(0, bytesRead))
    // Its failure is thrown where it is awaited; until then it is not unhandled.
    reading.catch(() => undefined)
    return reading
  }
  let next = read()
  try {
    for (;;) {
      const piece = await next
      if (piece.length === 0) return
      position += piece.length
      next = read()
      yield piece
    }
  } finally {
    // The caller closes the handle: no read may be under way then.
    await Promise.allSettled([next])
  }
}

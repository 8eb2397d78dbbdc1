import { lstatSync } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { BerthError, messageOf } from '../lib/error.ts'

/**
 * Writes pieces to a file, which appears when it is complete and not before; a pipe or a device is written as it comes.
 * @throws {BerthError} invalidArgument: it can't be written there; whatever `pieces` throws
 */
export async function writeFilePieces(path: string, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat?.isDirectory()) throw unusable(path, 'it is a directory')
  const isPlain = stat === undefined || stat.isFile()
  const target = isPlain ? join(dirname(path), `.${basename(path)}.berth-${process.pid}`) : path
  const file = await opened(path, target, isPlain)
  try {
    for await (const piece of pieces) await writeAll(file, piece)
    await file.close()
    if (isPlain) await rename(target, path)
  } catch (error) {
    await file.close()
    if (isPlain) await rm(target, { force: true })
    throw error
  }
}

async function opened(path: string, target: string, isPlain: boolean): Promise<FileHandle> {
  try {
    return await open(target, isPlain ? 'wx' : 'w', 0o600)
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException
    throw unusable(path, code === 'ENOENT' ? 'its directory does not exist' : code)
  }
}

async function writeAll(file: FileHandle, piece: Uint8Array): Promise<void> {
  for (let at = 0; at < piece.length; ) at += (await file.write(piece, at)).bytesWritten
}

function unusable(path: string, why: string): BerthError {
  return new BerthError('invalidArgument', `Cannot write to "${path}": ${why}`)
}

/**
 * Writes pieces to standard output, no faster than they are read there.
 * @throws {BerthError} invalidArgument: it is a terminal, which an archive would disturb
 */
export async function writeStdoutPieces(pieces: AsyncIterable<Uint8Array>): Promise<void> {
  if (process.stdout.isTTY) {
    throw new BerthError(
      'invalidArgument',
      'Cannot write an archive to a terminal: expected --output FILE, or a file or a pipe as standard output',
    )
  }
  // A stream whose reader has gone also emits the error, which would end the process; the write below tells it.
  process.stdout.on('error', () => undefined)
  for await (const piece of pieces) {
    await new Promise<void>((resolve, reject) => {
      process.stdout.write(piece, error => {
        if (error === null || error === undefined) resolve()
        else
          reject(new BerthError('cancelled', `Cannot write to standard output: ${messageOf(error)}`, { cause: error }))
      })
    })
  }
}

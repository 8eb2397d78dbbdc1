import { lstatSync, realpathSync } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { storageError } from '../content/durable-file.ts'
import { BerthError } from '../lib/error.ts'
import type { ByteWriter } from '../snapshot/block-gzip.ts'

/**
 * Writes what `produce` makes to a file, or to standard output (null), no faster than it is taken there. A file appears when it is complete
 * and not before; a pipe or a device is written as it comes. `signal` ends the wait for who reads standard output.
 * @throws {BerthError} invalidArgument: it can't be written there, or standard output is a terminal, which an archive would disturb;
 * unavailable: the disk is full; cancelled: who read it has ended; whatever `produce` throws
 */
export async function outputFile(
  path: string | null,
  produce: (write: ByteWriter) => Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  if (path === null) await toStdout(produce, signal)
  else await toFile(path, produce)
}

async function toFile(path: string, produce: (write: ByteWriter) => Promise<unknown>): Promise<void> {
  const place = placeOf(path)
  const file = await opened(path, place)
  const what = `Cannot write to "${path}"`
  try {
    await produce(async bytes => {
      for (let at = 0; at < bytes.length; ) at += await written(file, bytes, at, what)
    })
    await closed(file, what)
    if (place.isPlain) await rename(place.target, place.path)
  } catch (error) {
    await file.close()
    if (place.isPlain) await rm(place.target, { force: true })
    throw error
  }
}

/** What is to be there in the end, and what is written until then. */
interface Place {
  readonly path: string
  readonly target: string
  readonly isPlain: boolean
}

function placeOf(path: string): Place {
  const real = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ? resolved(path) : path
  const stat = lstatSync(real, { throwIfNoEntry: false })
  if (stat?.isDirectory()) throw unusable(path, 'it is a directory')
  const isPlain = stat === undefined || stat.isFile()
  const target = isPlain ? join(dirname(real), `.${basename(real)}.berth-${process.pid}`) : real
  return { path: real, target, isPlain }
}

function resolved(path: string): string {
  try {
    return realpathSync(path)
  } catch (error) {
    throw unusable(path, stateOf(error, 'what it links to does not exist'))
  }
}

async function opened(path: string, { target, isPlain }: Place): Promise<FileHandle> {
  try {
    return await open(target, isPlain ? 'wx' : 'w', 0o600)
  } catch (error) {
    throw unusable(path, stateOf(error, 'its directory does not exist'))
  }
}

function stateOf(error: unknown, absent: string): string {
  const { code = 'unknown error' } = error as NodeJS.ErrnoException
  return code === 'ENOENT' ? absent : code
}

async function written(file: FileHandle, bytes: Uint8Array, at: number, what: string): Promise<number> {
  try {
    return (await file.write(bytes, at)).bytesWritten
  } catch (error) {
    throw failure(error, what)
  }
}

/** The last moment at which a quota, or the server of a network file system, may say no. */
async function closed(file: FileHandle, what: string): Promise<void> {
  try {
    await file.close()
  } catch (error) {
    throw failure(error, what)
  }
}

function failure(error: unknown, what: string): unknown {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'EPIPE') return new BerthError('cancelled', `${what}: who read it has ended`, { cause: error })
  return storageError(error, what)
}

function unusable(path: string, why: string): BerthError {
  return new BerthError('invalidArgument', `Cannot write to "${path}": ${why}`)
}

async function toStdout(produce: (write: ByteWriter) => Promise<unknown>, signal: AbortSignal): Promise<void> {
  if (process.stdout.isTTY) {
    throw new BerthError(
      'invalidArgument',
      'Cannot write an archive to a terminal: expected --output FILE, or a file or a pipe as standard output',
    )
  }
  // A stream whose reader has gone also emits the error, which would end the process; the write below tells it.
  process.stdout.on('error', () => undefined)
  await produce(bytes => writeStdout(bytes, signal))
}

function writeStdout(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    signal.throwIfAborted()
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    process.stdout.write(bytes, error => {
      signal.removeEventListener('abort', abort)
      if (error === null || error === undefined) resolve()
      else reject(failure(error, 'Cannot write to standard output'))
    })
  })
}

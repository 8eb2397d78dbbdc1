import { closeSync, openSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { O_DIRECTORY, O_PATH } from '../linux/open-flags.ts'

/** sun_path of unix(7), with room for its NUL. */
const PATH_LIMIT_BYTES = 107

/** Connects to a unix socket, reads until end of file, and returns all of it. For answers of a few bytes. */
export async function connectUnix(path: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  const ended = Promise.withResolvers<void>()
  using short = shortPath(path)
  await Bun.connect({
    unix: short.path,
    socket: {
      data: (_, bytes) => {
        chunks.push(new Uint8Array(bytes))
      },
      close: () => ended.resolve(),
      error: (_, error) => ended.reject(error),
    },
  })
  await ended.promise
  return Buffer.concat(chunks)
}

/** A path that fits a socket address: a long one goes through an fd of its directory. */
export function shortPath(path: string): { readonly path: string } & Disposable {
  if (Buffer.byteLength(path) <= PATH_LIMIT_BYTES) return { path, [Symbol.dispose]() {} }
  const fd = openSync(dirname(path), O_PATH | O_DIRECTORY)
  return { path: `/proc/self/fd/${fd}/${basename(path)}`, [Symbol.dispose]: () => closeSync(fd) }
}

import { lstatSync, realpathSync } from 'node:fs'
import { BerthError } from '../lib/error.ts'
import { bareConfig, type RunnableImage } from './image.ts'

/**
 * A directory as an image (`--rootfs DIR`): the read-only layer below the container's own, so that the directory stays as it is.
 * @throws {BerthError} notFound; invalidArgument: not a directory
 */
export function openRootfs(path: string): RunnableImage {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) throw new BerthError('notFound', `Cannot use root filesystem "${path}": it does not exist`)
  if (!stat.isDirectory())
    throw new BerthError(
      'invalidArgument',
      `Cannot use root filesystem "${path}": it is ${stat.isSymbolicLink() ? 'a symbolic link' : 'not a directory'}, expected a directory`,
    )
  return {
    name: path,
    config: bareConfig('/bin/sh'),
    lowers: [realpathSync(path)],
  }
}

import type { Segment } from '../lib/tar/header.ts'
import type { Timestamp } from '../lib/tar/pax.ts'
import { S_IFDIR, S_IFMT, S_IFREG } from '../linux/open-flags.ts'

/** What a file is, as stat(2) tells it. */
export interface FileFacts {
  /** With the type of the file. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly major: number
  readonly minor: number
  readonly mtime: Timestamp
  readonly sizeBytes: number
  /** Names and values are byte strings; empty for what is neither a file nor a directory: no attribute of those is portable. */
  readonly xattrs: ReadonlyMap<string, string>
}

/** One file of a tree that berth-init reads: step `pack` of docs/plan-protocol.md. Texts are byte strings. */
export interface TreeEntry extends FileFacts {
  /** Below the root, without a slash at either end; empty for the root itself. */
  readonly path: string
  /** Of a symbolic link. */
  readonly target: string
  /** The same for all names of a file that has several, and empty for what has one. */
  readonly identity: string
  /** What the tree that this one is compared with has under the same path; null: nothing, or no such tree. */
  readonly lower: FileFacts | null
  /** Where the file has data; the rest are holes. Null when its content is not read. */
  readonly segments: readonly Segment[] | null
}

/** Whether it is a directory. */
export function isDirectory({ mode }: Pick<FileFacts, 'mode'>): boolean {
  return (mode & S_IFMT) === S_IFDIR
}

/** Whether it can be something that the runtime made to mount on: a directory or an empty file. */
export function isMountPoint({ mode, sizeBytes }: Pick<FileFacts, 'mode' | 'sizeBytes'>): boolean {
  return isDirectory({ mode }) || ((mode & S_IFMT) === S_IFREG && sizeBytes === 0)
}

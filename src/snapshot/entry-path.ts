import { BerthError } from '../lib/error.ts'

/** PATH_MAX without the NUL. */
const PATH_LIMIT_BYTES = 4095
/** NAME_MAX of every Linux filesystem that holds layers. */
const NAME_LIMIT_BYTES = 255
/** Deeper than any real tree, shallow enough for whatever walks it by recursion. */
const DEPTH_LIMIT = 256

/** An empty component, `.`, `..`, or a NUL. 255 bytes hold at most 128 levels. */
const UNUSUAL = /(?:^|\/)\.{0,2}(?:\/|$)|\0/

const WHITEOUT_PREFIX = '.wh.'
const OPAQUE_NAME = '.wh..wh..opq'
const AUFS_PREFIX = '.wh..wh.'

/** A name of an archive for people: as UTF-8, with what is no text escaped. */
export function printName(name: string): string {
  return JSON.stringify(Buffer.from(name, 'latin1').toString('utf8'))
}

/**
 * The path below the layer's root that a name of an archive means: without leading slashes, `.` and empty components;
 * empty for the root itself.
 * @throws {BerthError} invalidArgument: it holds `..` or a NUL, or is too long or deep for a file
 */
export function parseEntryPath(name: string): string {
  // Most names need no second look: nothing to leave out, and too short to be too long or deep.
  if (name.length <= NAME_LIMIT_BYTES && !UNUSUAL.test(name)) return name
  const components = name.split('/').filter(each => each !== '' && each !== '.')
  const path = components.join('/')
  const problem = components.includes('..')
    ? 'it leads upwards'
    : path.includes('\0')
      ? 'it holds a NUL'
      : path.length > PATH_LIMIT_BYTES || components.some(each => each.length > NAME_LIMIT_BYTES)
        ? `it is longer than Linux allows (${PATH_LIMIT_BYTES} bytes, ${NAME_LIMIT_BYTES} for one name)`
        : components.length > DEPTH_LIMIT
          ? `it is ${components.length} levels deep, expected at most ${DEPTH_LIMIT}`
          : null
  if (problem === null) return path
  const shown = name.length > 200 ? `${name.slice(0, 200)}…` : name
  throw new BerthError('invalidArgument', `Cannot unpack entry ${printName(shown)}: ${problem}`)
}

/** The directory of a path; empty for the root. */
export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/')
  return slash < 0 ? '' : path.slice(0, slash)
}

/** What the name of an entry says about lower layers. */
export type Marker =
  | { readonly kind: 'none' }
  /** Removes `path`. */
  | { readonly kind: 'whiteout'; readonly path: string }
  /** Removes all that is in `path`. */
  | { readonly kind: 'opaque'; readonly path: string }
  /** Book-keeping of aufs, on which Docker once ran; means nothing elsewhere. */
  | { readonly kind: 'aufs' }

/**
 * Tells whiteouts from files. Source: image-spec › Image Layer Filesystem Changeset › Whiteouts.
 * @throws {BerthError} invalidArgument: a whiteout of nothing or of a whole tree's root, or something in a whiteout
 */
export function parseMarker(path: string): Marker {
  if (!path.includes(WHITEOUT_PREFIX)) return { kind: 'none' }
  const components = path.split('/')
  if (components[0]?.startsWith(AUFS_PREFIX) && path !== OPAQUE_NAME) return { kind: 'aufs' }
  const parent = parentOf(path)
  const name = components.pop() ?? ''
  if (components.some(each => each.startsWith(WHITEOUT_PREFIX))) throw badWhiteout(path, 'it is inside a whiteout')
  if (!name.startsWith(WHITEOUT_PREFIX)) return { kind: 'none' }
  if (name === OPAQUE_NAME) return { kind: 'opaque', path: parent }
  const removed = name.slice(WHITEOUT_PREFIX.length)
  if (removed === '' || removed === '.' || removed === '..') throw badWhiteout(path, 'it names nothing to remove')
  if (removed.startsWith(WHITEOUT_PREFIX)) throw badWhiteout(path, 'it is a whiteout of a whiteout')
  return { kind: 'whiteout', path: parent === '' ? removed : `${parent}/${removed}` }
}

function badWhiteout(path: string, why: string): BerthError {
  return new BerthError('invalidArgument', `Cannot unpack entry ${printName(path)}: ${why}`)
}

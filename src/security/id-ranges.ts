import { existsSync, readFileSync } from 'node:fs'
import { BerthError } from '../lib/error.ts'
import type { IdMapping } from '../linux/id-map.ts'

/** The host ids of one container: `start` is its root. */
export interface IdRange {
  readonly start: number
  readonly size: number
}

/** As many ids as a container's own passwd and group files can name. */
export const RANGE_SIZE = 65_536
/** Above the ids of people, of services, of systemd's dynamic users, and of the first twenty users' subordinate ids. */
const FIRST_START = 1_400_000
/** The last id that a kernel takes, 2^32 - 2, bounds the last range; -1 means "no change" to chown(2). */
const LAST_START = 0xffff_fffe - RANGE_SIZE

/**
 * The lowest range that no container has and that no user was given in /etc/subuid or /etc/subgid.
 * @throws {BerthError} unavailable when all are in use
 */
export function allocateRange(used: ReadonlySet<number>, granted: readonly IdRange[] = readGranted()): IdRange {
  for (let start = FIRST_START; start <= LAST_START; start += RANGE_SIZE) {
    if (used.has(start)) continue
    const range = { start, size: RANGE_SIZE }
    if (!granted.some(other => overlap(range, other))) return range
  }
  throw new BerthError('unavailable', 'Cannot allocate ids for the container: every range is in use')
}

function overlap(a: IdRange, b: IdRange): boolean {
  return a.start < b.start + b.size && b.start < a.start + a.size
}

function readGranted(): IdRange[] {
  return ['/etc/subuid', '/etc/subgid']
    .filter(path => existsSync(path))
    .flatMap(path => parseGranted(readFileSync(path, 'utf8')))
}

/** Lines `user:start:count` of subuid(5); others are none of our business. */
export function parseGranted(text: string): IdRange[] {
  return text.split('\n').flatMap(line => {
    const [, start, size] = line.split(':').map(Number)
    if (start === undefined || size === undefined || !Number.isInteger(start) || !Number.isInteger(size)) return []
    return [{ start, size }]
  })
}

/** Which ids of the host a container's ids are. */
export interface ContainerIds {
  readonly uidMappings: readonly IdMapping[]
  readonly gidMappings: readonly IdMapping[]
}

/** A range of its own, for users and groups alike. */
export function rangeIds({ start, size }: IdRange): ContainerIds {
  const mappings = [{ containerID: 0, hostID: start, size }]
  return { uidMappings: mappings, gidMappings: mappings }
}

/** Whoever runs containers without privileges on the host. */
export interface RootlessUser {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

/**
 * The user himself as the container's root, and the subordinate ids that he was given as all others, up to the usual number. His
 * containers share them: he has no more.
 * @throws {BerthError} unavailable: he was given none
 */
export function rootlessIds(user: RootlessUser, subuid: string, subgid: string): ContainerIds {
  return {
    uidMappings: ownMappings(user, user.uid, subuid, '/etc/subuid'),
    gidMappings: ownMappings(user, user.gid, subgid, '/etc/subgid'),
  }
}

function ownMappings({ name, uid }: RootlessUser, own: number, text: string, path: string): readonly IdMapping[] {
  const lines = text.split('\n').filter(line => [name, String(uid)].includes(line.split(':')[0] ?? ''))
  const mappings: IdMapping[] = [{ containerID: 0, hostID: own, size: 1 }]
  let next = 1
  for (const { start, size } of parseGranted(lines.join('\n'))) {
    const count = Math.min(size, RANGE_SIZE - next)
    if (count > 0) mappings.push({ containerID: next, hostID: start, size: count })
    next += Math.max(count, 0)
  }
  if (next === 1)
    throw new BerthError(
      'unavailable',
      `Cannot map ids for user "${name}": ${path} gives him none, expected a line ${name}:START:COUNT (see usermod --add-${path.slice(5)}s)`,
    )
  return mappings
}

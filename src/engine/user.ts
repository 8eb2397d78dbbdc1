import { BerthError } from '../lib/error.ts'

/** A user as numbers. */
export interface ResolvedUser {
  readonly uid: number
  readonly gid: number
  /** With the primary group in it: without, a set-group-id program could drop a group whose members are denied (CVE-2022-36109). */
  readonly additionalGids: readonly number[]
}

/** One line of passwd(5) or group(5). */
interface Entry {
  readonly name: string
  readonly id: number
  /** passwd: the primary group. */
  readonly gid: number
  /** group: its members. */
  readonly members: readonly string[]
}

/** The highest id: 2^32 - 1 means "no change" to the kernel. */
const ID_LIMIT = 0xffff_fffe
const DIGITS = /^\d+$/

/**
 * `USER[:GROUP]`, each a name or a number, against the image's own passwd and group files. Digits are a number and nothing else:
 * a number out of range is an error, never looked up as a name (CVE-2016-3697, CVE-2024-40635).
 * @throws {BerthError} invalidArgument: out of range or malformed; notFound: no such name in the image
 */
export function resolveUser(text: string, groupAdd: readonly string[], passwd: string, group: string): ResolvedUser {
  const [userText = '', groupText, ...rest] = text.split(':')
  if (rest.length > 0) throw new BerthError('invalidArgument', `Cannot use user "${text}": expected USER or USER:GROUP`)
  const users = parseEntries(passwd)
  const groups = parseEntries(group)
  const uid = userText === '' ? 0 : readId(userText, users, 'user')
  const entry = users.find(
    ({ id, name }) => id === uid && (DIGITS.test(userText) || userText === '' || name === userText),
  )
  const gid = groupText === undefined || groupText === '' ? (entry?.gid ?? 0) : readId(groupText, groups, 'group')
  // As in Docker: an explicit group replaces the user's supplementary groups.
  const member =
    groupText === undefined ? groups.filter(({ members }) => entry !== undefined && members.includes(entry.name)) : []
  const added = groupAdd.map(each => readId(each, groups, 'group'))
  return { uid, gid, additionalGids: [...new Set([gid, ...member.map(({ id }) => id), ...added])] }
}

function readId(text: string, entries: readonly Entry[], what: 'user' | 'group'): number {
  if (!DIGITS.test(text)) {
    const entry = entries.find(({ name }) => name === text)
    if (entry === undefined)
      throw new BerthError(
        'notFound',
        `Cannot find ${what} "${text}": the image's /etc/${what === 'user' ? 'passwd' : 'group'} has none of that name`,
      )
    return entry.id
  }
  const id = Number(text)
  if (id > ID_LIMIT)
    throw new BerthError('invalidArgument', `Cannot use ${what} "${text}": expected at most ${ID_LIMIT}`)
  return id
}

/** The lines that are well-formed; an image's others are passed over, as by every libc. */
function parseEntries(text: string): Entry[] {
  return text.split('\n').flatMap(line => {
    const [name = '', , id = '', fourth = ''] = line.split(':')
    if (name === '' || !DIGITS.test(id) || Number(id) > ID_LIMIT) return []
    const gid = DIGITS.test(fourth) && Number(fourth) <= ID_LIMIT ? Number(fourth) : 0
    return [{ name, id: Number(id), gid, members: fourth.split(',') }]
  })
}

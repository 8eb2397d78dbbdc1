import { describe, expect, test } from 'bun:test'
import { type ResolvedUser, resolveUser } from './user.ts'

const PASSWD = `root:x:0:0:root:/root:/bin/sh
# a comment
anna:x:1000:1001:Anna:/home/anna:/bin/sh
anna:x:2000:2000:a second line of the same name:/:/bin/sh
bob:x:1002:none:a bad group:/:/bin/sh
huge:x:99999999999:5:an id out of range:/:/bin/sh
minus:x:-5:5:not a number:/:/bin/sh
0x7:x:7:7:a name like a number:/:/bin/sh
short
:x:8:8:no name:/:/bin/sh
4294967295:x:9:9:a name of digits:/:/bin/sh
`
const GROUP = `root:x:0:
wheel:x:10:root,anna
disk:x:6:anna
staff:x:50:bob
toobig:x:4294967295:anna
broken
`

const good: readonly (readonly [text: string, groupAdd: readonly string[], user: ResolvedUser])[] = [
  ['', [], { uid: 0, gid: 0, additionalGids: [0, 10] }],
  ['root', [], { uid: 0, gid: 0, additionalGids: [0, 10] }],
  ['anna', [], { uid: 1000, gid: 1001, additionalGids: [1001, 10, 6] }],
  ['1000', [], { uid: 1000, gid: 1001, additionalGids: [1001, 10, 6] }],
  ['1000:', [], { uid: 1000, gid: 1001, additionalGids: [1001] }],
  ['anna:staff', [], { uid: 1000, gid: 50, additionalGids: [50] }],
  ['anna:5', [], { uid: 1000, gid: 5, additionalGids: [5] }],
  ['5', [], { uid: 5, gid: 0, additionalGids: [0] }],
  ['5:7', [], { uid: 5, gid: 7, additionalGids: [7] }],
  [':staff', [], { uid: 0, gid: 50, additionalGids: [50] }],
  ['bob', [], { uid: 1002, gid: 0, additionalGids: [0, 50] }],
  ['0x7', [], { uid: 7, gid: 7, additionalGids: [7] }],
  ['4294967294', [], { uid: 4294967294, gid: 0, additionalGids: [0] }],
  ['007', [], { uid: 7, gid: 7, additionalGids: [7] }],
  ['5', ['disk', '99'], { uid: 5, gid: 0, additionalGids: [0, 6, 99] }],
  ['anna', ['wheel'], { uid: 1000, gid: 1001, additionalGids: [1001, 10, 6] }],
]

const bad: readonly (readonly [text: string, groupAdd: readonly string[], message: string])[] = [
  ['nobody', [], 'Cannot find user "nobody": the image\'s /etc/passwd has none of that name'],
  ['huge', [], 'Cannot find user "huge"'],
  ['minus', [], 'Cannot find user "minus"'],
  ['short', [], 'Cannot find user "short"'],
  ['-1', [], 'Cannot find user "-1"'],
  ['1e3', [], 'Cannot find user "1e3"'],
  [' 5', [], 'Cannot find user " 5"'],
  ['4294967295', [], 'Cannot use user "4294967295": expected at most 4294967294'],
  ['4294967296', [], 'Cannot use user "4294967296"'],
  ['18446744073709551616', [], 'Cannot use user "18446744073709551616"'],
  ['5:4294967296', [], 'Cannot use group "4294967296"'],
  ['5:toobig', [], 'Cannot find group "toobig": the image\'s /etc/group has none of that name'],
  ['anna:nogroup', [], 'Cannot find group "nogroup"'],
  ['5:6:7', [], 'Cannot use user "5:6:7": expected USER or USER:GROUP'],
  ['5', ['none'], 'Cannot find group "none"'],
  ['5', ['4294967295'], 'Cannot use group "4294967295"'],
]

describe('resolveUser()', () => {
  test.each(good)('reads "%s" with groups %p', (text, groupAdd, user) => {
    expect(resolveUser(text, groupAdd, PASSWD, GROUP)).toEqual(user)
  })

  test.each(bad)('rejects "%s" with groups %p', (text, groupAdd, message) => {
    expect(() => resolveUser(text, groupAdd, PASSWD, GROUP)).toThrow(message)
  })

  test('needs no files for numbers', () => {
    expect(resolveUser('1:2', ['3'], '', '')).toEqual({ uid: 1, gid: 2, additionalGids: [2, 3] })
  })
})

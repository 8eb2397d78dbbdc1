import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { parseMountInfo } from './mountinfo.ts'

test('parseMountInfo() reads optional fields, escapes and an empty source', () => {
  const text = [
    '36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue',
    '40 36 0:33 / /a\\134b ro - tmpfs  rw',
    '',
  ].join('\n')
  expect(parseMountInfo(text)).toEqual([
    {
      mountId: 36,
      parentId: 35,
      major: 98,
      minor: 0,
      root: '/mnt1',
      mountPoint: '/mnt 2',
      options: ['rw', 'noatime'],
      optionalFields: ['master:1', 'shared:2'],
      fstype: 'ext3',
      source: '/dev/root',
      superOptions: ['rw', 'errors=continue'],
    },
    {
      mountId: 40,
      parentId: 36,
      major: 0,
      minor: 33,
      root: '/',
      mountPoint: '/a\\b',
      options: ['ro'],
      optionalFields: [],
      fstype: 'tmpfs',
      source: '',
      superOptions: ['rw'],
    },
  ])
})

test.each(['x', '36 35 98:0 / / rw shared:1 ext3 a rw', 'a b 98:0 / / rw - ext3 a rw', '1 2 3 / / rw - ext3 a rw'])(
  'parseMountInfo() refuses %p',
  line => {
    expect(() => parseMountInfo(line)).toThrow('Cannot parse mountinfo line')
  },
)

test("parseMountInfo() reads this machine's own", () => {
  const mounts = parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'))
  expect(mounts.some(mount => mount.mountPoint === '/')).toBe(true)
})

/** As the kernel writes it, see seq_path(). */
function escapeMountField(field: string): string {
  return field.replaceAll(/[ \t\n\\#]/g, char => `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`)
}

test('parseMountInfo() reads any mount point back', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), name => {
      const path = `/${name}`
      const [mount] = parseMountInfo(`1 2 0:3 / ${escapeMountField(path)} rw shared:1 - tmpfs none rw\n`)
      expect(mount?.mountPoint).toBe(path)
    }),
  )
})

import { expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { parseBind, parseDevice, parseTmpfs } from './mount-flags.ts'

test.each([
  ['/a:/b', { source: '/a', target: '/b', options: ['rprivate'] }],
  ['/a:/b:ro', { source: '/a', target: '/b', options: ['ro', 'rprivate'] }],
  ['/a:/b:ro,rslave,z', { source: '/a', target: '/b', options: ['ro', 'rslave'] }],
] as const)('parseBind() reads "%s"', (text, bind) => {
  expect(parseBind(text)).toEqual({ ...bind, options: [...bind.options] })
})

test.each(['', '/a', 'a:/b', '/a:b', 'name:/b', '/a:/', '/a:/b:ro:rw', '/a:/b:suid'])(
  'parseBind() refuses "%s"',
  text => {
    expect(() => parseBind(text)).toThrow(`Cannot use --volume "${text}"`)
  },
)

test('parseBind() makes nothing', () => {
  parseBind('/nosuch-berth-directory:/b')
  expect(existsSync('/nosuch-berth-directory')).toBe(false)
})

test.each([
  ['/x', { target: '/x', options: [] }],
  ['/x:', { target: '/x', options: [] }],
  ['/x:size=1m,mode=700', { target: '/x', options: ['size=1m', 'mode=700'] }],
])('parseTmpfs() reads "%s"', (text, tmpfs) => {
  expect(parseTmpfs(text)).toEqual(tmpfs)
})

test.each(['', 'x', '/', '/:size=1'])('parseTmpfs() refuses "%s"', text => {
  expect(() => parseTmpfs(text)).toThrow(`Cannot use --tmpfs "${text}"`)
})

test.each([
  ['/dev/a', { hostPath: '/dev/a', path: '/dev/a', access: 'rwm' }],
  ['/dev/a:/dev/b', { hostPath: '/dev/a', path: '/dev/b', access: 'rwm' }],
  ['/dev/a:r', { hostPath: '/dev/a', path: '/dev/a', access: 'r' }],
  ['/dev/a:/dev/b:rw', { hostPath: '/dev/a', path: '/dev/b', access: 'rw' }],
])('parseDevice() reads "%s"', (text, device) => {
  expect(parseDevice(text)).toEqual(device)
})

test.each(['', 'a', '/dev/a:b', '/dev/a:', '/dev/a:/dev/b:x', '/dev/a:/dev/b:', '/dev/a:/dev/b:r:w', '/dev/a:b:r'])(
  'parseDevice() refuses "%s"',
  text => {
    expect(() => parseDevice(text)).toThrow(`Cannot use --device "${text}"`)
  },
)

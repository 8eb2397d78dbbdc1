import { expect, test } from 'bun:test'
import { readSecurityOptions } from './security-options.ts'

const CONFINED = {
  noNewPrivileges: true,
  seccomp: 'builtin',
  appArmor: null,
  seLinuxLabel: null,
  maskPaths: true,
} as const

test('readSecurityOptions() confines by default, and a privileged container by what is asked for only', () => {
  expect(readSecurityOptions([], false)).toEqual(CONFINED)
  const free = { ...CONFINED, noNewPrivileges: false, seccomp: null, maskPaths: false }
  expect(readSecurityOptions([], true)).toEqual(free)
  expect(readSecurityOptions(['no-new-privileges'], true)).toEqual({ ...free, noNewPrivileges: true })
  expect(readSecurityOptions(['seccomp=builtin'], true)).toEqual({ ...free, seccomp: 'builtin' })
})

test.each([
  ['seccomp=unconfined', { seccomp: null }],
  ['seccomp:unconfined', { seccomp: null }],
  ['no-new-privileges=false', { noNewPrivileges: false }],
  ['no-new-privileges:false', { noNewPrivileges: false }],
  ['no-new-privileges=true', {}],
  ['apparmor=mine', { appArmor: 'mine' }],
  ['apparmor=unconfined', {}],
  ['label=disable', {}],
  ['systempaths=unconfined', { maskPaths: false }],
] as const)('readSecurityOptions() reads "%s"', (entry, changed) => {
  expect(readSecurityOptions([entry], false)).toEqual({ ...CONFINED, ...changed })
})

test.each([
  ['', 'Cannot use --security-opt ""'],
  ['no-new-privileges=maybe', 'Cannot use --security-opt "no-new-privileges=maybe"'],
  ['label=type:x', 'Cannot use --security-opt "label=type:x"'],
  ['systempaths=x', 'Cannot use --security-opt "systempaths=x"'],
  ['apparmor=', 'Cannot use --security-opt "apparmor="'],
  ['nosuch=x', 'Cannot use --security-opt "nosuch=x"'],
  ['seccomp=', 'Cannot read security option "seccomp": empty'],
  ['seccomp=/nosuch', 'Cannot read seccomp profile "/nosuch": ENOENT'],
])('readSecurityOptions() refuses "%s"', (entry, message) => {
  expect(() => readSecurityOptions([entry], false)).toThrow(message)
})

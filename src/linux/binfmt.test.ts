import { expect, test } from 'bun:test'
import { type BinaryFormat, isOfFormat, parseBinaryFormat, programHeader } from './binfmt.ts'

// As /proc/sys/fs/binfmt_misc/qemu-aarch64 shows it with Debian's qemu-user-static 7.2.
const AARCH64 = `enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
`

function formatOf(text: string): BinaryFormat {
  const format = parseBinaryFormat(text)
  if (format === null) throw new Error('no format')
  return format
}

test('parseBinaryFormat() reads an entry with magic bytes', () => {
  const format = formatOf(AARCH64)
  expect(format).toMatchObject({ isEnabled: true, flags: 'POCF', offset: 0 })
  expect(format.interpreter).toBe('/usr/libexec/qemu-binfmt/aarch64-binfmt-P')
  expect([format.magic.length, format.mask.length]).toEqual([20, 20])
  expect(formatOf(AARCH64.replace('enabled', 'disabled')).isEnabled).toBe(false)
})

test('parseBinaryFormat() passes over an entry that goes by an extension', () => {
  expect(parseBinaryFormat('enabled\ninterpreter /usr/bin/java\nflags: \nextension .jar\n')).toBeNull()
})

test('isOfFormat() tells the programs of one architecture from those of others', () => {
  const format = formatOf(AARCH64)
  for (const [architecture, expected] of [
    ['arm64', true],
    ['amd64', false],
    ['arm', false],
    ['s390x', false],
    ['ppc64le', false],
  ] as const)
    expect(isOfFormat(programHeader(architecture) ?? new Uint8Array(), format)).toBe(expected)
  expect(programHeader('pdp11')).toBeNull()
})

test('isOfFormat() compares all bits where there is no mask', () => {
  const format = formatOf('enabled\ninterpreter /x\nflags: F\noffset 18\nmagic 0016\n')
  expect(isOfFormat(programHeader('s390x') ?? new Uint8Array(), format)).toBe(true)
  expect(isOfFormat(programHeader('riscv64') ?? new Uint8Array(), format)).toBe(false)
})

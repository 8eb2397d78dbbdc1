import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { foreignArchitectureProblem } from './foreign-architecture.ts'

const FOREIGN = 's390x'
const ENTRY = `enabled
interpreter /usr/libexec/qemu-binfmt/s390x-binfmt-P
flags: POCF
offset 0
magic 7f454c4602020100000000000000000000020016
mask ffffffffffffff00fffffffffffffffffffeffff
`

function problemWith(files: Readonly<Record<string, string>>, architecture = FOREIGN): string | null {
  const directory = mkdtempSync(join(tmpdir(), 'berth-binfmt-'))
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
    return foreignArchitectureProblem(architecture, directory)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

const MOUNTED = { register: '', status: 'enabled\n' }

test('foreignArchitectureProblem() is none for what the machine runs by itself', () => {
  expect(problemWith({}, process.arch === 'arm64' ? 'arm64' : 'amd64')).toBeNull()
})

test('foreignArchitectureProblem() is none with an interpreter that works in containers', () => {
  expect(problemWith({ ...MOUNTED, 'qemu-s390x': ENTRY })).toBeNull()
})

test('foreignArchitectureProblem() says what is missing, and what to do', () => {
  expect(problemWith({})).toContain('mount -t binfmt_misc')
  expect(foreignArchitectureProblem(FOREIGN, '/nowhere')).toContain('binfmt_misc is not mounted')
  expect(problemWith(MOUNTED)).toContain('no interpreter for s390x is registered')
  expect(problemWith({ ...MOUNTED, x: ENTRY.replace('enabled', 'disabled') })).toContain('no interpreter')
  expect(problemWith({ ...MOUNTED, x: ENTRY }, 'riscv64')).toContain('no interpreter for riscv64')
  expect(problemWith({ ...MOUNTED, x: ENTRY.replace('POCF', 'POC') })).toContain('without the flag F')
  expect(problemWith({ ...MOUNTED, x: ENTRY }, 'pdp11')).toContain('no interpreter for pdp11')
})

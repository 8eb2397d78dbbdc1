// vm-run: --share /usr/bin:/host-bin
/** Programs of another processor: what binfmt_misc has to know, and that they run when it does. The emulator is the host's. */

import { expect } from 'bun:test'
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { programHeader } from '../../src/linux/binfmt.ts'
import { LayoutBuilder } from '../image/layout-builder.ts'
import { testIf } from '../support/requirement.ts'
import { archive } from '../support/tar-archive.ts'
import { berth, outcomeOf } from './berth.ts'

const inVm = testIf('vm', 'command /host-bin/qemu-aarch64-static')
const BINFMT_MISC = '/proc/sys/fs/binfmt_misc'
const EMULATOR = '/host-bin/qemu-aarch64-static'
const MESSAGE = 'hello from arm64\n'
/** Of an ELF header what the emulator's package compares: all but e_ident's ABI, and e_type with or without ET_DYN. */
const MASK = 'ffffffffffffff00fffffffffffffffffeffffff'
const MAGIC_BYTES = MASK.length / 2

/**
 * A static program for arm64 that writes a message and exits with 42: the ELF header, one PT_LOAD of the whole file, six instructions,
 * the message. Source: System V ABI › ELF; Arm ARM › A64 › MOVZ, ADR, SVC; write is 64 and exit 93 in asm-generic/unistd.h.
 */
function armProgram(): Uint8Array {
  const [headerBytes, programHeaderBytes, base] = [64, 56, 0x400000]
  const [write, exit, stdout, status] = [64, 93, 1, 42]
  const code = headerBytes + programHeaderBytes
  const movz = (register: number, value: number): number => 0xd2800000 + value * 0x20 + register
  const svc = 0xd4000001
  const words = [movz(0, stdout), 0, movz(2, MESSAGE.length), movz(8, write), svc, movz(0, status), movz(8, exit), svc]
  // ADR x1 to what comes after the instructions; its offset is a multiple of four.
  words[1] = 0x10000001 + (words.length - 1) * 0x20
  const bytes = new Uint8Array(code + words.length * 4 + MESSAGE.length)
  const view = new DataView(bytes.buffer)
  bytes.set((programHeader('arm64') ?? new Uint8Array()).subarray(0, headerBytes))
  view.setUint32(20, 1, true)
  view.setBigUint64(24, BigInt(base + code), true)
  view.setBigUint64(32, BigInt(headerBytes), true)
  view.setUint16(52, headerBytes, true)
  view.setUint16(54, programHeaderBytes, true)
  view.setUint16(56, 1, true)
  const [load, readable, executable] = [1, 4, 1]
  view.setUint32(headerBytes, load, true)
  view.setUint32(headerBytes + 4, readable | executable, true)
  view.setBigUint64(headerBytes + 16, BigInt(base), true)
  view.setBigUint64(headerBytes + 24, BigInt(base), true)
  view.setBigUint64(headerBytes + 32, BigInt(bytes.length), true)
  view.setBigUint64(headerBytes + 40, BigInt(bytes.length), true)
  view.setBigUint64(headerBytes + 48, 0x1000n, true)
  for (const [index, word] of words.entries()) view.setUint32(code + index * 4, word, true)
  bytes.set(Buffer.from(MESSAGE), code + words.length * 4)
  return bytes
}

/** A layout with an image for arm64 whose command is the program. */
function armImage(): string {
  const layout = new LayoutBuilder(join(mkdtempSync(join(tmpdir(), 'berth-foreign-')), 'layout'))
  const layer = archive({ name: 'hello', mode: 0o755, content: armProgram() })
  return layout.finish(
    layout.image([layer], { platform: { architecture: 'arm64' }, config: { Cmd: ['/hello'], Env: ['PATH=/'] } }),
  )
}

async function runArm(): Promise<{ readonly status: number | null; readonly stdout: string; readonly stderr: string }> {
  return await berth('run', '--rm', '--platform', 'linux/arm64', `oci:${armImage()}`)
}

async function mountBinfmt(): Promise<void> {
  if (readdirSync(BINFMT_MISC).length > 0) return
  expect((await outcomeOf(['mount', '-t', 'binfmt_misc', 'binfmt_misc', BINFMT_MISC])).stderr).toBe('')
}

/** Registers the emulator, with the flags, until it is disposed. */
async function registered(flags: string): Promise<Disposable> {
  await mountBinfmt()
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex').replaceAll(/../g, String.raw`\x$&`)
  const magic = hex((programHeader('arm64') ?? new Uint8Array()).subarray(0, MAGIC_BYTES))
  writeFileSync(
    join(BINFMT_MISC, 'register'),
    `:berth-arm64:M::${magic}:${hex(Buffer.from(MASK, 'hex'))}:${EMULATOR}:${flags}`,
  )
  return { [Symbol.dispose]: () => writeFileSync(join(BINFMT_MISC, 'berth-arm64'), '-1') }
}

inVm('a program for arm64 runs in a container when its emulator is registered, with its exit status', async () => {
  await outcomeOf(['modprobe', 'binfmt_misc'])
  using _ = await registered('F')
  expect(await runArm()).toMatchObject({ status: 42, stdout: MESSAGE, stderr: '' })
})

inVm('without an emulator, or with one that containers cannot find, the error says what to do', async () => {
  await outcomeOf(['modprobe', 'binfmt_misc'])
  await mountBinfmt()
  const none = await runArm()
  expect([none.status, none.stdout]).toEqual([125, ''])
  expect(none.stderr).toContain('no interpreter for arm64 is registered in binfmt_misc; register one with the flag F')
  using _ = await registered('')
  const unfixed = await runArm()
  expect([unfixed.status, unfixed.stdout]).toEqual([125, ''])
  expect(unfixed.stderr).toContain(`"${EMULATOR}", is registered in binfmt_misc without the flag F`)
})

/**
 * binfmt_misc: which programs the kernel hands to an interpreter, such as an emulator of another processor.
 * Source: Documentation/admin-guide/binfmt-misc.rst; System V ABI › ELF Header.
 */

/** A format that is recognised by bytes near the beginning of a file. */
export interface BinaryFormat {
  readonly isEnabled: boolean
  readonly interpreter: string
  /** Letters; `F`: the interpreter was opened at the registration, so that it works where its path does not lead to it. */
  readonly flags: string
  readonly offset: number
  readonly magic: Uint8Array
  /** As long as the magic. */
  readonly mask: Uint8Array
}

interface Elf {
  readonly bits: 32 | 64
  readonly endian: 'little' | 'big'
  /** e_machine. */
  readonly machine: number
}

/** By Go's name of the architecture. */
const ELF: Readonly<Record<string, Elf>> = {
  '386': { bits: 32, endian: 'little', machine: 3 },
  amd64: { bits: 64, endian: 'little', machine: 62 },
  arm: { bits: 32, endian: 'little', machine: 40 },
  arm64: { bits: 64, endian: 'little', machine: 183 },
  loong64: { bits: 64, endian: 'little', machine: 258 },
  mips64le: { bits: 64, endian: 'little', machine: 8 },
  mipsle: { bits: 32, endian: 'little', machine: 8 },
  ppc64le: { bits: 64, endian: 'little', machine: 21 },
  riscv64: { bits: 64, endian: 'little', machine: 243 },
  s390x: { bits: 64, endian: 'big', machine: 22 },
}

/** Of `struct elfhdr` the beginning up to e_machine; the kernel compares at most 128 bytes of a file. */
const HEADER_BYTES = 128
const EI_CLASS = 4
const EI_DATA = 5
const EI_VERSION = 6
const E_TYPE = 16
const E_MACHINE = 18
const ET_EXEC = 2

/** Reads an entry of binfmt_misc; null for one that goes by the file's extension. */
export function parseBinaryFormat(text: string): BinaryFormat | null {
  const lines = text.split('\n')
  const after = (word: string): string => lines.find(line => line.startsWith(`${word} `))?.slice(word.length + 1) ?? ''
  const magic = Buffer.from(after('magic'), 'hex')
  if (magic.length === 0) return null
  const mask = Buffer.from(after('mask'), 'hex')
  return {
    isEnabled: lines[0] === 'enabled',
    interpreter: after('interpreter'),
    flags: after('flags:'),
    offset: Number(after('offset')),
    magic,
    mask: mask.length === magic.length ? mask : Buffer.alloc(magic.length, 0xff),
  }
}

/** The beginning of a program of an architecture; null: not one that is known. */
export function programHeader(architecture: string): Uint8Array | null {
  const elf = Object.hasOwn(ELF, architecture) ? ELF[architecture] : undefined
  if (elf === undefined) return null
  const header = new Uint8Array(HEADER_BYTES)
  header.set([0x7f, 0x45, 0x4c, 0x46])
  const isLittle = elf.endian === 'little'
  header[EI_CLASS] = elf.bits === 64 ? 2 : 1
  header[EI_DATA] = isLittle ? 1 : 2
  header[EI_VERSION] = 1
  const view = new DataView(header.buffer)
  view.setUint16(E_TYPE, ET_EXEC, isLittle)
  view.setUint16(E_MACHINE, elf.machine, isLittle)
  return header
}

/** Whether a file that begins with these bytes is of the format. */
export function isOfFormat(header: Uint8Array, { offset, magic, mask }: BinaryFormat): boolean {
  return magic.every((byte, index) => ((byte ^ (header[offset + index] ?? 0)) & (mask[index] ?? 0)) === 0)
}

/**
 * The system call ABIs a filter can tell apart: their audit numbers and their call numbers.
 * Source: seccomp(2) on `seccomp_data.arch`; include/uapi/linux/audit.h; libseccomp's seccomp.h for the words.
 */
import { BerthError } from '../../lib/error.ts'
import { SYSCALL_NUMBERS } from './syscall-numbers.ts'

export type NativeArch = 'x86_64' | 'aarch64'
export type Abi = keyof typeof SYSCALL_NUMBERS

/** Bit 30 of a call number says x32; the audit number is x86_64's. Source: arch/x86/include/uapi/asm/unistd.h. */
export const X32_SYSCALL_BIT = 0x40000000

/** arm keeps private calls (cacheflush, set_tls, …) far above its table. Source: arch/arm/include/uapi/asm/unistd.h. */
export const ARM_PRIVATE_BASE = 0xf0000

export const AUDIT_ARCH = Object.freeze({
  x86_64: 0xc000003e,
  x32: 0xc000003e,
  i386: 0x40000003,
  aarch64: 0xc00000b7,
  arm: 0x40000028,
}) satisfies Readonly<Record<Abi, number>>

const AT_SIGN = 0x40

const ABI_OF_WORD: ReadonlyMap<string, Abi> = new Map([
  ['SCMP_ARCH_X86_64', 'x86_64'],
  ['SCMP_ARCH_X32', 'x32'],
  ['SCMP_ARCH_X86', 'i386'],
  ['SCMP_ARCH_AARCH64', 'aarch64'],
  ['SCMP_ARCH_ARM', 'arm'],
])

/** The `SCMP_ARCH_*` words of the architectures that a filter can be made for. */
export const KNOWN_ARCHITECTURES: readonly string[] = Object.freeze([...ABI_OF_WORD.keys()])

/**
 * The ABIs of a filter: the machine's own first (libseccomp adds it unasked, and so does every runtime), then those
 * named, each once, in the order of `AUDIT_ARCH` so that the order in the config does not change the program.
 * @throws {BerthError} notImplemented for an architecture whose call numbers Berth does not have.
 */
export function selectAbis(words: readonly string[], nativeArch: NativeArch): readonly Abi[] {
  const named = new Set<Abi>()
  for (const word of words) {
    const abi = ABI_OF_WORD.get(word)
    if (abi === undefined) {
      const known = [...ABI_OF_WORD.keys()].join(', ')
      throw new BerthError('notImplemented', `Cannot filter architecture "${word}": not known, expected ${known}`)
    }
    named.add(abi)
  }
  named.delete(nativeArch)
  const order: readonly Abi[] = ['x86_64', 'x32', 'i386', 'aarch64', 'arm']
  return [nativeArch, ...order.filter(abi => named.has(abi))]
}

/** The calls of an ABI: `names[i]` has `numbers[i]`, ascending; numbers as in `seccomp_data.nr` (x32's with bit 30). */
export interface SyscallTable {
  readonly names: readonly string[]
  readonly numbers: readonly number[]
}

const tables = new Map<Abi, SyscallTable>()

/** Built on first use: a start of the CLI that filters nothing does not pay for it. */
export function syscallTable(abi: Abi): SyscallTable {
  const built = tables.get(abi)
  if (built !== undefined) return built
  const names: string[] = []
  const numbers: number[] = []
  const base = abi === 'x32' ? X32_SYSCALL_BIT : 0
  let number = base
  for (const word of SYSCALL_NUMBERS[abi].split(' ')) {
    if (word.charCodeAt(0) === AT_SIGN) {
      number = base + Number(word.slice(1))
    } else {
      names.push(word)
      numbers.push(number++)
    }
  }
  const table = { names, numbers }
  tables.set(abi, table)
  return table
}

/** The number of one call, absent when the ABI does not have it. */
export function syscallNumber(abi: Abi, name: string): number | undefined {
  const { names, numbers } = syscallTable(abi)
  return numbers[names.indexOf(name)]
}

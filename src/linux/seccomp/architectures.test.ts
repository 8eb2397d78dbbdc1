import { describe, expect, test } from 'bun:test'
import { type Abi, selectAbis, syscallNumber, syscallTable } from './architectures.ts'

describe('syscallNumber()', () => {
  // Source: the kernel's syscall tables, arch/*/entry/syscalls and include/uapi/asm-generic/unistd.h.
  test.each<[Abi, string, number | undefined]>([
    ['x86_64', 'read', 0],
    ['x86_64', 'socket', 41],
    ['x86_64', 'clone3', 435],
    ['x86_64', 'socketcall', undefined],
    ['x32', 'read', 0x40000000],
    ['x32', 'ioctl', 0x40000000 + 514],
    ['i386', 'exit', 1],
    ['i386', 'socketcall', 102],
    ['i386', 'socket', 359],
    ['aarch64', 'io_setup', 0],
    ['aarch64', 'socket', 198],
    ['aarch64', 'open', undefined],
    ['arm', 'socket', 281],
    ['arm', 'cacheflush', 983042],
  ])('%s %s is %p', (abi, name, number) => {
    expect(syscallNumber(abi, name)).toBe(number)
  })

  test.each<Abi>(['x86_64', 'x32', 'i386', 'aarch64', 'arm'])('the table of %s is ascending, each name once', abi => {
    const { names, numbers } = syscallTable(abi)
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b))
    expect(new Set(numbers).size).toBe(numbers.length)
    expect(new Set(names).size).toBe(names.length)
    expect(names.every(name => /^_?[a-z][a-z0-9_]*$/.test(name))).toBe(true)
  })
})

describe('selectAbis()', () => {
  test('puts the native ABI first, adds it when it is not named, and keeps each once', () => {
    expect(selectAbis([], 'aarch64')).toEqual(['aarch64'])
    expect(selectAbis(['SCMP_ARCH_X86', 'SCMP_ARCH_X32', 'SCMP_ARCH_X86'], 'x86_64')).toEqual(['x86_64', 'x32', 'i386'])
  })

  test('refuses an architecture without a table, naming it', () => {
    expect(() => selectAbis(['SCMP_ARCH_S390X'], 'x86_64')).toThrow('Cannot filter architecture "SCMP_ARCH_S390X"')
  })
})

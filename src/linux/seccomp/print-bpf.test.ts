import { describe, expect, test } from 'bun:test'
import { compileSeccomp } from './compile-seccomp.ts'
import { printBpf } from './print-bpf.ts'

describe('printBpf()', () => {
  test('prints a filter with its meaning', () => {
    const { program } = compileSeccomp(
      {
        defaultAction: 'SCMP_ACT_ERRNO',
        syscalls: [
          { names: ['read', 'write'], action: 'SCMP_ACT_ALLOW' },
          {
            names: ['socket'],
            action: 'SCMP_ACT_ALLOW',
            args: [{ index: 0, value: 38n, op: 'SCMP_CMP_LT' }],
          },
          {
            names: ['mmap'],
            action: 'SCMP_ACT_KILL_PROCESS',
            args: [{ index: 2, value: 6n, valueTwo: 6n, op: 'SCMP_CMP_MASKED_EQ' }],
          },
        ],
      },
      { nativeArch: 'x86_64' },
    )
    expect(`\n${printBpf(program)}`).toMatchInlineSnapshot(`
      "
         0  ld  [4]                       ; arch
         1  jeq #0xc000003e jt 2 jf 18    ; x86_64
         2  ld  [0]                       ; nr
         3  jge #0x29 jt 11 jf 4
         4  jge #0x9 jt 6 jf 5
         5  jge #0x2 jt 19 jf 15
         6  jge #0xa jt 19 jf 7
         7  ld  [32]                      ; args[2], low
         8  and #0x6
         9  jeq #0x6 jt 10 jf 19
        10  ret #0x80000000               ; KILL_PROCESS
        11  jge #0x40000000 jt 17 jf 12
        12  jge #0x2a jt 16 jf 13
        13  ld  [16]                      ; args[0], low
        14  jge #0x26 jt 19 jf 15
        15  ret #0x7fff0000               ; ALLOW
        16  ret #0x50026                  ; ERRNO(38)
        17  jge #0xffffffff jt 19 jf 18
        18  ret #0x0                      ; KILL_THREAD
        19  ret #0x50001                  ; ERRNO(1)
      "
    `)
  })

  test('prints an instruction that no seccomp filter has as raw words', () => {
    expect(printBpf(Uint8Array.of(0x16, 0, 1, 2, 3, 0, 0, 0))).toBe(
      '  0  .word 0x16, 1, 2, #0x3         ; not of a seccomp filter\n',
    )
  })

  test('refuses half an instruction', () => {
    expect(() => printBpf(new Uint8Array(12))).toThrow('Cannot print BPF program: 12 bytes, expected a multiple of 8')
  })
})

import { describe, expect, test } from 'bun:test'
import { runBpf } from '../../../test/support/bpf-interpreter.ts'
import { BPF, BpfAssembler, PROGRAM_INSTRUCTIONS_MAX } from './bpf-assembler.ts'

const ALLOW = 0x7fff0000
const NO_ARGS = [0n, 0n, 0n, 0n, 0n, 0n]

/** A chain of `length` equality checks on nr: k → k + 1, anything else → 0, so that its jumps get as long as itself. */
function chain(length: number): Uint8Array {
  const assembler = new BpfAssembler()
  let next = assembler.ret(0)
  for (let k = length; k > 0; k--) next = assembler.jump(BPF.JEQ_K, k, assembler.ret(k + 1), next)
  assembler.startWith(0, next)
  return assembler.finish()
}

describe('BpfAssembler', () => {
  test('encodes sock_filter as u16 code, u8 jt, u8 jf, u32 k, little-endian', () => {
    const assembler = new BpfAssembler()
    const kill = assembler.ret(0)
    const allow = assembler.ret(ALLOW)
    assembler.jump(BPF.JEQ_K, 0xc000003e, allow, kill)
    assembler.load(4)
    expect(Buffer.from(assembler.finish()).toString('hex')).toBe(
      '2000000004000000' + '150000013e0000c0' + '060000000000ff7f' + '0600000000000000',
    )
  })

  test('ret() reuses an instruction that is still in reach', () => {
    const assembler = new BpfAssembler()
    expect(assembler.ret(ALLOW)).toBe(assembler.ret(ALLOW))
    expect(assembler.finish().length).toBe(8)
  })

  test.each([1, 100, 126, 127, 128, 129, 255, 256, 257, 600])('a chain of %d checks reaches every target', length => {
    const program = chain(length)
    for (let nr = 0; nr <= length + 1; nr++) {
      const expected = nr >= 1 && nr <= length ? nr + 1 : 0
      expect(runBpf(program, { nr, arch: 0, args: NO_ARGS })).toBe(expected)
    }
  })

  test('a target more than 255 instructions away that is no return is reached by ja', () => {
    const assembler = new BpfAssembler()
    const allow = assembler.ret(ALLOW)
    const far = assembler.jump(BPF.JEQ_K, 7, allow, assembler.ret(0))
    let filler = assembler.ret(1)
    for (let k = 0; k < 300; k++) filler = assembler.jump(BPF.JGE_K, 0x1000 + k, filler, assembler.ret(1))
    const start = assembler.jump(BPF.JGE_K, 0x1000, filler, far)
    assembler.startWith(0, start)
    const program = assembler.finish()
    expect([...program.filter((_, at) => at % 8 === 0)]).toContain(BPF.JA)
    expect(runBpf(program, { nr: 7, arch: 0, args: NO_ARGS })).toBe(ALLOW)
    expect(runBpf(program, { nr: 8, arch: 0, args: NO_ARGS })).toBe(0)
    expect(runBpf(program, { nr: 0x1000, arch: 0, args: NO_ARGS })).toBe(1)
  })

  test('finish() refuses more instructions than BPF_MAXINSNS', () => {
    expect(() => chain(PROGRAM_INSTRUCTIONS_MAX)).toThrow(/^Cannot compile seccomp filter: \d+ instructions, expected/)
  })
})

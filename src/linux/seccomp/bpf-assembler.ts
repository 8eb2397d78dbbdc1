/**
 * Assembles classic BPF from its end to its start.
 *
 * Jumps of classic BPF only go forward, so with every target written before the jump to it, each distance is known
 * at once. A conditional jump reaches 255 instructions; farther targets get a stepping stone next to the jump: a copy
 * of the target when that is a return, else a `ja`, whose distance has 32 bits.
 * Source: Documentation/networking/filter.rst; include/uapi/linux/filter.h.
 */
import { BerthError } from '../../lib/error.ts'

/** The opcodes that a seccomp filter of ours uses; all of them are among those seccomp_check_filter() accepts. */
export const BPF = Object.freeze({
  LD_W_ABS: 0x20,
  ALU_AND_K: 0x54,
  JA: 0x05,
  JEQ_K: 0x15,
  JGT_K: 0x25,
  JGE_K: 0x35,
  JSET_K: 0x45,
  RET_K: 0x06,
})

/** sizeof(struct sock_filter): u16 code, u8 jt, u8 jf, u32 k. */
export const SOCK_FILTER_BYTES = 8

/** BPF_MAXINSNS of include/uapi/linux/bpf_common.h. */
export const PROGRAM_INSTRUCTIONS_MAX = 4096

const JUMP_MAX = 255

/** A place in the program: how many instructions had been written when its own was, counted from the end. */
export type Label = number

/** Collects instructions from the last to the first; every method that writes one returns its label. */
export class BpfAssembler {
  readonly #code: number[] = []
  /** jt in the low byte, jf in the next, as they follow the code in memory. */
  readonly #jumps: number[] = []
  readonly #k: number[] = []
  readonly #returns = new Map<number, Label>()

  /** `ret k`. One instruction serves every jump that can reach it. */
  ret(k: number): Label {
    const label = this.#returns.get(k)
    if (label !== undefined && this.#code.length - label < JUMP_MAX) return label
    const fresh = this.#push(BPF.RET_K, 0, k)
    this.#returns.set(k, fresh)
    return fresh
  }

  /** `ld [offset]`: the word at `offset` of struct seccomp_data; goes on with what was written before. */
  load(offset: number): Label {
    return this.#push(BPF.LD_W_ABS, 0, offset)
  }

  /** `and #mask`; goes on with what was written before. */
  and(mask: number): Label {
    return this.#push(BPF.ALU_AND_K, 0, mask)
  }

  /** `ld [offset]`, then on to `target`, wherever that is. */
  startWith(offset: number, target: Label): Label {
    const distance = this.#code.length - target - 1
    if (distance > 0) this.#push(BPF.JA, 0, distance)
    return this.load(offset)
  }

  /** A conditional jump on the accumulator. */
  jump(code: number, k: number, whenTrue: Label, whenFalse: Label): Label {
    // The stepping stone for `whenFalse` may come between the jump and `whenTrue`: leave room for it.
    const nearTrue = this.#near(whenTrue, 1)
    const nearFalse = this.#near(whenFalse, 0)
    const at = this.#code.length
    return this.#push(code, (at - nearTrue - 1) | ((at - nearFalse - 1) << 8), k)
  }

  /**
   * The program that starts with the instruction written last: `struct sock_filter[]`, little-endian.
   * @throws {BerthError} invalidArgument when it has more instructions than the kernel takes.
   */
  finish(): Uint8Array {
    const length = this.#code.length
    if (length > PROGRAM_INSTRUCTIONS_MAX) {
      throw new BerthError(
        'invalidArgument',
        `Cannot compile seccomp filter: ${length} instructions, expected at most ${PROGRAM_INSTRUCTIONS_MAX}`,
      )
    }
    const program = new Uint8Array(length * SOCK_FILTER_BYTES)
    const view = new DataView(program.buffer)
    for (let at = 0; at < length; at++) {
      const from = length - 1 - at
      const jumps = this.#jumps[from] ?? 0
      view.setUint32(at * SOCK_FILTER_BYTES, (this.#code[from] ?? 0) | (jumps << 16), true)
      view.setUint32(at * SOCK_FILTER_BYTES + 4, this.#k[from] ?? 0, true)
    }
    return program
  }

  #near(target: Label, room: number): Label {
    const distance = this.#code.length - target - 1
    if (distance + room <= JUMP_MAX) return target
    if (this.#code[target] === BPF.RET_K) {
      const k = this.#k[target] ?? 0
      const copy = this.#push(BPF.RET_K, 0, k)
      this.#returns.set(k, copy)
      return copy
    }
    return this.#push(BPF.JA, 0, distance)
  }

  #push(code: number, jumps: number, k: number): Label {
    this.#code.push(code)
    this.#jumps.push(jumps)
    this.#k.push(k >>> 0)
    return this.#code.length - 1
  }
}

/**
 * Runs a seccomp filter on one call as the kernel would, and refuses what the kernel would refuse.
 * Source: kernel/seccomp.c, seccomp_check_filter(); Documentation/networking/filter.rst.
 */
import { BPF, SOCK_FILTER_BYTES } from '../../src/linux/seccomp/bpf-assembler.ts'

/** struct seccomp_data without the instruction pointer. */
export interface SeccompData {
  readonly nr: number
  readonly arch: number
  readonly args: readonly bigint[]
}

const DATA_BYTES = 64

/** What the filter returns for the call. Throws on an instruction that seccomp(2) would not take. */
export function runBpf(program: Uint8Array, data: SeccompData): number {
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength)
  const memory = encode(data)
  let accumulator = 0
  for (let pc = 0; pc * SOCK_FILTER_BYTES < program.length; pc++) {
    const at = pc * SOCK_FILTER_BYTES
    const k = code.getUint32(at + 4, true)
    const operation = code.getUint16(at, true)
    if (operation === BPF.RET_K) return k
    if (operation === BPF.LD_W_ABS) {
      if (k % 4 !== 0 || k >= DATA_BYTES) throw new Error(`load of offset ${k} at ${pc}`)
      accumulator = memory.getUint32(k, true)
    } else if (operation === BPF.ALU_AND_K) accumulator = (accumulator & k) >>> 0
    else if (operation === BPF.JA) pc += k
    else pc += code.getUint8(at + (holds(operation, accumulator, k) ? 2 : 3))
  }
  throw new Error('the program ends without a return')
}

function holds(operation: number, accumulator: number, k: number): boolean {
  if (operation === BPF.JEQ_K) return accumulator === k
  if (operation === BPF.JGT_K) return accumulator > k
  if (operation === BPF.JGE_K) return accumulator >= k
  if (operation === BPF.JSET_K) return (accumulator & k) !== 0
  throw new Error(`opcode 0x${operation.toString(16)}`)
}

function encode({ nr, arch, args }: SeccompData): DataView {
  const memory = new DataView(new ArrayBuffer(DATA_BYTES))
  memory.setUint32(0, nr, true)
  memory.setUint32(4, arch, true)
  args.forEach((argument, index) => {
    memory.setBigUint64(16 + 8 * index, argument, true)
  })
  return memory
}

/**
 * Prints a seccomp filter in the notation of libseccomp's tools and the kernel's bpf_dbg, one instruction a line:
 *
 * ```
 *   4  jge #0x1b8 jt 5 jf 9
 *   5  ret #0x7fff0000               ; ALLOW
 * ```
 * Jump targets are line numbers. Loads, numbers of architectures and returned actions carry their meaning.
 */
import { BerthError } from '../../lib/error.ts'
import { AUDIT_ARCH } from './architectures.ts'
import { BPF, SOCK_FILTER_BYTES } from './bpf-assembler.ts'
import { SECCOMP_RET } from './config.ts'

const JUMP_NAMES: ReadonlyMap<number, string> = new Map([
  [BPF.JEQ_K, 'jeq'],
  [BPF.JGT_K, 'jgt'],
  [BPF.JGE_K, 'jge'],
  [BPF.JSET_K, 'jset'],
])

const ARCH_NAMES: ReadonlyMap<number, string> = new Map([
  [AUDIT_ARCH.x86_64, 'x86_64'],
  [AUDIT_ARCH.i386, 'i386'],
  [AUDIT_ARCH.aarch64, 'aarch64'],
  [AUDIT_ARCH.arm, 'arm'],
])

const COMMENT_COLUMN = 36

/**
 * The program as text, lines ending with a newline.
 * @throws {BerthError} invalidArgument when the bytes are no whole number of instructions.
 */
export function printBpf(program: Uint8Array): string {
  if (program.length % SOCK_FILTER_BYTES !== 0) {
    throw new BerthError(
      'invalidArgument',
      `Cannot print BPF program: ${program.length} bytes, expected a multiple of ${SOCK_FILTER_BYTES}`,
    )
  }
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength)
  const width = String(program.length / SOCK_FILTER_BYTES).length
  let text = ''
  for (let line = 0; line * SOCK_FILTER_BYTES < program.length; line++) {
    const at = line * SOCK_FILTER_BYTES
    const { instruction, comment } = describe(line, {
      code: view.getUint16(at, true),
      jt: view.getUint8(at + 2),
      jf: view.getUint8(at + 3),
      k: view.getUint32(at + 4, true),
    })
    const left = `${String(line).padStart(width + 2)}  ${instruction}`
    text += `${comment === '' ? left : `${left.padEnd(COMMENT_COLUMN)}; ${comment}`}\n`
  }
  return text
}

interface Instruction {
  readonly code: number
  readonly jt: number
  readonly jf: number
  readonly k: number
}

function describe(line: number, { code, jt, jf, k }: Instruction): { instruction: string; comment: string } {
  const constant = `#0x${k.toString(16)}`
  const jump = JUMP_NAMES.get(code)
  if (jump !== undefined) {
    const comment = jump === 'jeq' ? (ARCH_NAMES.get(k) ?? '') : ''
    return { instruction: `${jump} ${constant} jt ${line + 1 + jt} jf ${line + 1 + jf}`, comment }
  }
  if (code === BPF.LD_W_ABS) return { instruction: `ld  [${k}]`, comment: fieldName(k) }
  if (code === BPF.RET_K) return { instruction: `ret ${constant}`, comment: actionName(k) }
  if (code === BPF.ALU_AND_K) return { instruction: `and ${constant}`, comment: '' }
  if (code === BPF.JA) return { instruction: `ja  ${line + 1 + k}`, comment: '' }
  return { instruction: `.word 0x${code.toString(16)}, ${jt}, ${jf}, ${constant}`, comment: 'not of a seccomp filter' }
}

/** The field of struct seccomp_data at an offset. */
function fieldName(offset: number): string {
  if (offset === 0) return 'nr'
  if (offset === 4) return 'arch'
  if (offset < 16) return offset === 8 ? 'instruction_pointer, low' : 'instruction_pointer, high'
  return `args[${(offset - 16) >> 3}], ${offset % 8 === 0 ? 'low' : 'high'}`
}

function actionName(value: number): string {
  const action = (value & 0xffff0000) >>> 0
  const data = value & 0xffff
  if (action === SECCOMP_RET.SCMP_ACT_KILL) return 'KILL_THREAD'
  const word = Object.entries(SECCOMP_RET).find(([, code]) => code === action)?.[0]
  if (word === undefined) return ''
  const name = word.replace('SCMP_ACT_', '')
  return action === SECCOMP_RET.SCMP_ACT_ERRNO || action === SECCOMP_RET.SCMP_ACT_TRACE ? `${name}(${data})` : name
}

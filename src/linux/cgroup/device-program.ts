import { type DeviceException, type DevicePolicy, devicePolicy } from './device-rules.ts'
import type { DeviceCgroupRule } from './resources.ts'

/**
 * The device filter of cgroup v2: an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE, which the kernel runs for every
 * open and mknod of a device node and whose result 0 refuses it with EPERM.
 *
 * struct bpf_insn (8 bytes): u8 code, u8 registers (destination low, source high nibble), s16 offset, s32 immediate.
 * Comparisons are of class JMP32 (Linux 5.1), because a 64-bit one sign-extends its immediate.
 * Source: include/uapi/linux/bpf.h; kernel bpf/standardization/instruction-set.rst.
 */
export const BPF_LDX_MEM_W = 0x61
export const BPF_ALU_AND_K = 0x54
export const BPF_ALU_RSH_K = 0x74
export const BPF_ALU_MOV_K = 0xb4
export const BPF_ALU_MOV_X = 0xbc
export const BPF_JMP32_JEQ_K = 0x16
export const BPF_JMP32_JNE_K = 0x56
export const BPF_EXIT = 0x95

const DEV_BLOCK = 1
const DEV_CHAR = 2

const RESULT = 0
const CONTEXT = 1
const TYPE = 2
const ACCESS = 3
const MAJOR = 4
const MINOR = 5
const SCRATCH = 0

interface Instruction {
  readonly code: number
  readonly destination?: number
  readonly source?: number
  readonly offset?: number
  readonly immediate?: number
}

/**
 * Compiles rules into the instructions of a device filter, little-endian, ready for BPF_PROG_LOAD.
 * @throws {BerthError} see {@link devicePolicy}
 */
export function deviceProgram(rules: readonly DeviceCgroupRule[]): Uint8Array {
  return compilePolicy(devicePolicy(rules))
}

/** Compiles a policy; see {@link deviceProgram}. */
export function compilePolicy(policy: DevicePolicy): Uint8Array {
  return assemble([
    // struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor } with access_type = access << 16 | type.
    { code: BPF_LDX_MEM_W, destination: TYPE, source: CONTEXT, offset: 0 },
    { code: BPF_ALU_AND_K, destination: TYPE, immediate: 0xffff },
    { code: BPF_LDX_MEM_W, destination: ACCESS, source: CONTEXT, offset: 0 },
    { code: BPF_ALU_RSH_K, destination: ACCESS, immediate: 16 },
    { code: BPF_LDX_MEM_W, destination: MAJOR, source: CONTEXT, offset: 4 },
    { code: BPF_LDX_MEM_W, destination: MINOR, source: CONTEXT, offset: 8 },
    ...policy.exceptions.flatMap(exception => blockOf(exception, policy.allowByDefault)),
    ...result(policy.allowByDefault),
  ])
}

function blockOf(exception: DeviceException, allowByDefault: boolean): readonly Instruction[] {
  const verdict = allowByDefault
    ? [
        // Any denied kind of access among those asked for refuses all.
        { code: BPF_ALU_MOV_X, destination: SCRATCH, source: ACCESS },
        { code: BPF_ALU_AND_K, destination: SCRATCH, immediate: exception.access },
        { code: BPF_JMP32_JEQ_K, destination: SCRATCH, offset: 2, immediate: 0 },
        ...result(false),
      ]
    : [
        // What is granted here need not be granted again; nothing left to grant means yes.
        { code: BPF_ALU_AND_K, destination: ACCESS, immediate: ~exception.access & 0xffff },
        { code: BPF_JMP32_JNE_K, destination: ACCESS, offset: 2, immediate: 0 },
        ...result(true),
      ]
  const tests = [
    [TYPE, exception.type === 'b' ? DEV_BLOCK : DEV_CHAR],
    [MAJOR, exception.major],
    [MINOR, exception.minor],
  ] as const
  const used = tests.filter(([, value]) => value !== null)
  const jumps = used.map(([register, value], i) => ({
    code: BPF_JMP32_JNE_K,
    destination: register,
    offset: used.length - 1 - i + verdict.length,
    immediate: value ?? 0,
  }))
  return [...jumps, ...verdict]
}

function result(allowed: boolean): readonly Instruction[] {
  return [{ code: BPF_ALU_MOV_K, destination: RESULT, immediate: allowed ? 1 : 0 }, { code: BPF_EXIT }]
}

function assemble(instructions: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(instructions.length * 8)
  const view = new DataView(bytes.buffer)
  for (const [i, { code, destination = 0, source = 0, offset = 0, immediate = 0 }] of instructions.entries()) {
    view.setUint8(i * 8, code)
    view.setUint8(i * 8 + 1, (source << 4) | destination)
    view.setInt16(i * 8 + 2, offset, true)
    view.setInt32(i * 8 + 4, immediate | 0, true)
  }
  return bytes
}

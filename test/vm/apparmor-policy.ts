/** AppArmor policy in the form that the kernel loads, made without apparmor_parser. */

import { writeFileSync } from 'node:fs'

/** What a profile without rules does: `complain` lets everything pass, `enforce` nothing. */
export type ProfileMode = 'enforce' | 'complain'

// The codes and the order of fields of security/apparmor/policy_unpack.c (aa_unpack, unpack_profile), version 5 of the form.
const U32 = 2
const NAME = 4
const STRING = 5
const STRUCT = 7
const STRUCT_END = 8
const VERSION = 5
const MODES: Readonly<Record<ProfileMode, number>> = { enforce: 0, complain: 1 }

/** Loads a profile without rules. */
export function loadProfile(name: string, mode: ProfileMode): void {
  const flags = [...named(STRUCT, 'flags'), ...u32(0), ...u32(MODES[mode]), ...u32(0), STRUCT_END]
  const capabilities = [0, 0, 0, 0].flatMap(u32)
  const policy = [
    ...[...tag('version'), ...u32(VERSION)],
    ...[...named(STRUCT, 'profile'), ...text(STRING, name), ...flags, ...capabilities, STRUCT_END],
  ]
  writeFileSync('/sys/kernel/security/apparmor/.replace', Uint8Array.from(policy))
}

function u32(value: number): number[] {
  return [U32, value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24]
}

function text(code: number, value: string): number[] {
  const bytes = [...new TextEncoder().encode(value), 0]
  return [code, bytes.length & 0xff, bytes.length >> 8, ...bytes]
}

function tag(name: string): number[] {
  return text(NAME, name)
}

function named(code: number, name: string): number[] {
  return [...tag(name), code]
}

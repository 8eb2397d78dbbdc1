// A compiled filter in a real kernel: what it takes, and what a process under it sees. Needs a C compiler and x86-64;
// no privilege, since the process sets no_new_privs.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compileSeccomp } from '../../src/linux/seccomp/compile-seccomp.ts'
import type { SeccompConfig } from '../../src/linux/seccomp/config.ts'
import { hardenProfile } from '../../src/security/seccomp-hardening.ts'
import { dockerProfile } from '../../src/security/seccomp-profile.ts'
import { testIf } from '../support/requirement.ts'

// Loads the filter in argv[1] with the flags in argv[2], makes the call in argv[4…] natively or through int 0x80, and
// prints errno or "ok".
const SOURCE = `
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static long int80(long nr, long a, long b) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b) : "memory", "r8", "r9", "r10", "r11");
  return (int)result;
}

int main(int argc, char **argv) {
  static struct sock_filter code[4096];
  FILE *file = fopen(argv[1], "r");
  struct sock_fprog program = { fread(code, sizeof *code, 4096, file), code };
  long args[4] = {0};
  for (int i = 4; i < argc && i < 8; i++) args[i - 4] = (long)strtoull(argv[i], NULL, 0);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return 2;
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, strtoul(argv[2], NULL, 0), &program) < 0) return 3;
  long result = strcmp(argv[3], "i386") ? syscall(args[0], args[1], args[2], args[3]) : int80(args[0], args[1], args[2]);
  if (!strcmp(argv[3], "i386") && result < 0) errno = -result, result = -1;
  printf("%s\\n", result < 0 ? strerrorname_np(errno) : "ok");
  return 0;
}
`

const hasCompiler = process.arch === 'x64' && spawnSync('cc', ['--version']).status === 0
let directory = ''

beforeAll(() => {
  if (!hasCompiler) return
  directory = mkdtempSync(join(tmpdir(), 'berth-seccomp-'))
  writeFileSync(join(directory, 'call.c'), SOURCE)
  const built = spawnSync('cc', ['-D_GNU_SOURCE', '-o', join(directory, 'call'), join(directory, 'call.c')])
  if (built.status !== 0) throw new Error(built.stderr.toString())
})

afterAll(() => {
  if (directory !== '') rmSync(directory, { recursive: true })
})

/** What the call gives under the filter: `ok`, an errno, or the signal that ended the process. */
function call(config: SeccompConfig, abi: 'x86_64' | 'i386', ...args: readonly (number | bigint)[]): string {
  const { program, flags } = compileSeccomp(config, { nativeArch: 'x86_64' })
  const filter = join(directory, 'filter')
  writeFileSync(filter, program)
  const ran = spawnSync(join(directory, 'call'), [filter, `${flags}`, abi, ...args.map(String)])
  return ran.signal ?? (ran.status === 0 ? ran.stdout.toString().trim() : `exit ${ran.status}`)
}

describe.skipIf(!hasCompiler)('a compiled filter in this kernel', () => {
  const open: SeccompConfig = { defaultAction: 'SCMP_ACT_ALLOW', architectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] }
  const hardened = hardenProfile(dockerProfile({ capabilities: [], arch: 'x86_64', kernelVersion: '5.15' }))

  test.each<[string, 'x86_64' | 'i386', readonly (number | bigint)[], string]>([
    ['socket(AF_UNIX, SOCK_STREAM)', 'x86_64', [41, 1, 1, 0], 'ok'],
    ['socket(AF_UNIX | 2^32, SOCK_STREAM), which the kernel truncates', 'x86_64', [41, 0x1_00000001n, 1, 0], 'ok'],
    ['socket(AF_ALG)', 'x86_64', [41, 38, 5, 0], 'EPERM'],
    ['socket(AF_ALG | 2^32)', 'x86_64', [41, 0x1_00000026n, 5, 0], 'EPERM'],
    ['socket(AF_VSOCK)', 'x86_64', [41, 40, 1, 0], 'EPERM'],
    ['io_uring_setup', 'x86_64', [425, 1, 0], 'EPERM'],
    ['unshare(CLONE_NEWUSER)', 'x86_64', [272, 0x10000000], 'EPERM'],
    ['clone3', 'x86_64', [435, 0, 0], 'ENOSYS'],
    ['a call of the future', 'x86_64', [999], 'ENOSYS'],
    ['getpid', 'x86_64', [39], 'ok'],
  ])('Docker’s profile, hardened: %s on %s %p gives %s', (_, abi, args, expected) => {
    expect(call(hardened, abi, ...args)).toBe(expected)
  })

  testIf('int 0x80')('the 32-bit ways to AF_ALG are closed', () => {
    expect(call(hardened, 'i386', 20)).toBe('ok')
    expect(call(hardened, 'i386', 359, 38, 5)).toBe('EPERM')
    expect(call(hardened, 'i386', 102, 1, 0)).toBe('ENOSYS')
    expect(call({ ...hardened, architectures: [] }, 'i386', 20)).toBe('SIGSYS')
  })

  test('kills by KILL_PROCESS, answers by ERRNO, and leaves other calls alone', () => {
    const rules = (action: 'SCMP_ACT_KILL_PROCESS' | 'SCMP_ACT_ERRNO'): SeccompConfig => ({
      ...open,
      syscalls: [{ names: ['getppid'], action }],
    })
    expect(call(rules('SCMP_ACT_KILL_PROCESS'), 'x86_64', 110)).toBe('SIGSYS')
    expect(call(rules('SCMP_ACT_ERRNO'), 'x86_64', 110)).toBe('EPERM')
    expect(call(rules('SCMP_ACT_ERRNO'), 'x86_64', 39)).toBe('ok')
  })
})

import { readlinkSync } from 'node:fs'
import { BerthError } from '../../lib/error.ts'
import type { CreateOptions } from '../../runtime/create.ts'
import type { Option } from '../options.ts'
import { UsageError } from '../options.ts'
import type { RuntimeCall } from './verb.ts'

/** The options that `create`, `run` and `explain` share. */
export const CREATE_OPTIONS: readonly Option[] = [
  { name: 'bundle', short: 'b', kind: 'value', value: 'DIR', help: 'the bundle (default: the working directory)' },
  { name: 'console-socket', kind: 'value', value: 'PATH', help: 'unix socket that receives the terminal’s master' },
  { name: 'pid-file', kind: 'value', value: 'FILE', help: 'write the process id there' },
  { name: 'no-pivot', kind: 'flag', help: 'change the root by chroot: for a root filesystem on a ramdisk' },
  { name: 'no-new-keyring', kind: 'flag', help: 'keep the session keyring of the caller' },
  { name: 'preserve-fds', kind: 'value', value: 'N', help: 'hand through N fds from fd 3 on' },
]

type Shared = Pick<
  CreateOptions,
  'bundle' | 'consoleSocket' | 'pidFile' | 'preservedFds' | 'pivot' | 'newKeyring' | 'stdio'
>

/** Reads them. Socket activation (LISTEN_FDS) adds to the preserved fds, as in runc. */
export function readCreateOptions({ parsed }: RuntimeCall): Shared {
  return {
    bundle: parsed.value('bundle') ?? process.cwd(),
    consoleSocket: parsed.value('console-socket') ?? null,
    pidFile: parsed.value('pid-file') ?? null,
    preservedFds: preservedFds(parsed.value('preserve-fds')),
    pivot: !parsed.flag('no-pivot'),
    newKeyring: !parsed.flag('no-new-keyring'),
    stdio: [0, 1, 2],
  }
}

/**
 * `--preserve-fds N` and $LISTEN_FDS together: how many fds from fd 3 on.
 * @throws {BerthError} invalidArgument: no number; one of them is not open
 */
export function preservedFds(text: string | undefined): number {
  const asked = Number(text ?? '0')
  const listening = Number(process.env['LISTEN_FDS'] ?? '0')
  if (!Number.isInteger(asked) || asked < 0 || asked > 200 || !Number.isInteger(listening))
    throw new UsageError({ name: 'runtime' }, `Cannot preserve fds: "${text}" is not a number from 0 to 200`)
  const count = asked + listening
  for (let fd = 3; fd < 3 + count; fd++)
    if (!isCallers(fd)) throw new BerthError('invalidArgument', `Cannot preserve fd "${fd}": it is not open`)
  return count
}

/**
 * Whether our caller gave us this fd. Bun's event loop takes the lowest free fd when it starts, so a gap in what the caller gave
 * shows as an epoll fd there, and must not reach the container.
 */
function isCallers(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) !== 'anon_inode:[eventpoll]'
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

import { readFileSync } from 'node:fs'
import { BerthError, messageOf } from '../../lib/error.ts'
import type { Process } from '../../oci/runtime-spec.ts'
import { parseProcess } from '../../oci/runtime-spec-process-parser.ts'
import { findContainer } from '../../runtime/container-state.ts'
import { changeProcess, type ProcessChanges, processFromConfig } from '../../runtime/exec-process.ts'
import { runExec } from '../../runtime/run-exec.ts'
import { type Grammar, type ParsedOptions, UsageError } from '../options.ts'
import { preservedFds } from './create-options.ts'
import { idOperand, type RuntimeCall, type RuntimeVerb } from './verb.ts'

const grammar: Grammar = {
  name: 'runtime exec',
  operands: 'ID [COMMAND [ARG...]]',
  help: 'Runs a further process in a container. The options change what config.json, or the file of --process, says.',
  stopAtOperand: true,
  options: [
    { name: 'process', short: 'p', kind: 'value', value: 'FILE', help: 'read the process from this JSON file' },
    { name: 'tty', short: 't', kind: 'flag', help: 'give it a terminal' },
    { name: 'cwd', kind: 'value', value: 'DIR', help: 'working directory in the container' },
    { name: 'env', short: 'e', kind: 'values', value: 'NAME=VALUE', help: 'add a variable' },
    { name: 'user', short: 'u', kind: 'value', value: 'UID[:GID]', help: 'run as this user' },
    { name: 'additional-gids', short: 'g', kind: 'values', value: 'GID', help: 'add a supplementary group' },
    { name: 'cap', short: 'c', kind: 'values', value: 'CAP', help: 'add a capability' },
    { name: 'apparmor', kind: 'value', value: 'PROFILE', help: 'AppArmor profile' },
    { name: 'process-label', kind: 'value', value: 'LABEL', help: 'SELinux label' },
    { name: 'no-new-privs', kind: 'flag', help: 'let no program add privileges' },
    { name: 'detach', short: 'd', kind: 'flag', help: 'do not wait for it' },
    { name: 'pid-file', kind: 'value', value: 'FILE', help: 'write the process id there' },
    { name: 'console-socket', kind: 'value', value: 'PATH', help: 'unix socket that receives the terminal’s master' },
    { name: 'preserve-fds', kind: 'value', value: 'N', help: 'hand through N fds from fd 3 on' },
    { name: 'ignore-paused', kind: 'flag', help: 'also when the container is paused: it runs when that is resumed' },
    { name: 'cgroup', kind: 'values', value: '[CONTROLLER:]PATH', help: 'run it in this cgroup below the container’s' },
  ],
}

/** runc's status for an exec that did not come to run: distinct from what most programs return. */
const NOT_RUN = 255

/** `berth runtime exec`. */
export const execVerb: RuntimeVerb = {
  grammar,
  async run(call) {
    const { parsed, options } = call
    try {
      const id = idOperand(call, grammar)
      return await runExec(id, processOf(id, call), {
        ...options,
        detach: parsed.flag('detach'),
        consoleSocket: parsed.value('console-socket') ?? null,
        pidFile: parsed.value('pid-file') ?? null,
        preservedFds: preservedFds(parsed.value('preserve-fds')),
        ignorePaused: parsed.flag('ignore-paused'),
        cgroups: parsed.values('cgroup'),
      })
    } catch (error) {
      call.log.failure(error)
      return NOT_RUN
    }
  },
}

function processOf(id: string, { parsed, options }: RuntimeCall): Process {
  const changes = readChanges(parsed)
  const file = parsed.value('process')
  if (file !== undefined) {
    const { value, warnings } = parseProcess(read(file), file)
    for (const warning of warnings) options.warn(warning)
    return changeProcess(value, changes)
  }
  const own = findContainer(options.root, id).directory.spec().process
  if (own === undefined)
    throw new BerthError('invalidArgument', `Cannot exec in container "${id}": its config.json has no process`)
  return processFromConfig(own, changes)
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new BerthError('notFound', `Cannot read process "${file}": ${messageOf(error)}`, { cause: error })
  }
}

function readChanges(parsed: ParsedOptions): ProcessChanges {
  const given = (name: string): boolean | undefined =>
    parsed.value(name) === undefined ? undefined : parsed.flag(name)
  const user = parsed.value('user')
  return {
    args: parsed.operands.slice(1),
    cwd: parsed.value('cwd'),
    env: parsed.values('env'),
    user: user === undefined ? undefined : parseUser(user),
    additionalGids: parsed.values('additional-gids').map(text => parseId('additional-gids', text)),
    capabilities: parsed.values('cap'),
    apparmorProfile: parsed.value('apparmor'),
    selinuxLabel: parsed.value('process-label'),
    noNewPrivileges: given('no-new-privs'),
    terminal: given('tty'),
  }
}

function parseUser(text: string): { readonly uid: number; readonly gid?: number } {
  const [uid = '', gid, ...more] = text.split(':')
  if (more.length > 0) throw new UsageError(grammar, `Cannot use user "${text}": expected UID or UID:GID`)
  return { uid: parseId('user', uid), ...(gid !== undefined && { gid: parseId('user', gid) }) }
}

/** The largest 32-bit number is no id: to setresuid(2) it means "leave it". */
const ID_LIMIT = 0xffff_fffe

function parseId(option: string, text: string): number {
  const id = Number(text)
  if (!/^\d{1,10}$/.test(text) || id > ID_LIMIT)
    throw new UsageError(grammar, `Cannot use option "--${option}": "${text}" is no id, expected a number from 0`)
  return id
}

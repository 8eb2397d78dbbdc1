import manifest from '../../../package.json' with { type: 'json' }
import { BerthError } from '../../lib/error.ts'
import { OCI_RUNTIME_SPEC_VERSION } from '../../oci/runtime-spec.ts'
import type { RuntimeOptions } from '../../runtime/runtime-options.ts'
import { type Grammar, helpText, type Option, type ParsedOptions, parseOptions, UsageError } from '../options.ts'
import { Log } from './log.ts'
import type { RuntimeCall, RuntimeVerb } from './verb.ts'

const HELP: Option = { name: 'help', short: 'h', kind: 'flag', help: 'show this text' }

const GLOBAL: Grammar = {
  name: 'runtime',
  operands: 'COMMAND',
  help: 'Runs containers as the OCI runtime-spec says, with the options of runc.',
  stopAtOperand: true,
  options: [
    { name: 'root', kind: 'value', value: 'DIR', help: 'directory of the containers’ state' },
    { name: 'log', kind: 'value', value: 'FILE', help: 'write the log there (default: stderr)' },
    { name: 'log-format', kind: 'value', value: 'text|json', help: 'format of the log' },
    { name: 'debug', kind: 'flag', help: 'log more' },
    { name: 'systemd-cgroup', kind: 'flag', help: 'have systemd make the cgroups; cgroupsPath is "slice:prefix:name"' },
    { name: 'rootless', kind: 'value', value: 'true|false|auto', help: 'whether to do without privileges on the host' },
    {
      name: 'criu',
      kind: 'value',
      value: 'PATH',
      help: 'accepted for compatibility; checkpoints are not made by this runtime',
    },
    {
      name: 'launcher',
      kind: 'value',
      value: 'FD',
      help: 'given by berth-runc, which has started this program: the connection to it',
    },
    HELP,
    { name: 'version', short: 'v', kind: 'flag', help: 'show the version' },
  ],
}

const VERBS: Readonly<Record<string, () => Promise<RuntimeVerb>>> = {
  create: async () => (await import('./create.ts')).createVerb,
  start: async () => (await import('./start.ts')).startVerb,
  run: async () => (await import('./run.ts')).runVerb,
  exec: async () => (await import('./exec.ts')).execVerb,
  state: async () => (await import('./state.ts')).stateVerb,
  list: async () => (await import('./list.ts')).listVerb,
  ps: async () => (await import('./ps.ts')).psVerb,
  kill: async () => (await import('./kill.ts')).killVerb,
  delete: async () => (await import('./delete.ts')).deleteVerb,
  pause: async () => (await import('./pause.ts')).pauseVerb,
  resume: async () => (await import('./pause.ts')).resumeVerb,
  update: async () => (await import('./update.ts')).updateVerb,
  events: async () => (await import('./events.ts')).eventsVerb,
  spec: async () => (await import('./spec.ts')).specVerb,
  features: async () => (await import('./features.ts')).featuresVerb,
  explain: async () => (await import('./explain.ts')).explainVerb,
}

/** Runs one command of the runtime; what `berth runtime` and a program called `runc` do. */
export async function runtimeCommand(args: readonly string[]): Promise<number> {
  // berth-runc sets it for us (native/front.c), not for the programs that we start.
  delete process.env['BUN_JSC_useJIT']
  const global = parseOptions(GLOBAL, args)
  if (global.flag('version')) {
    console.log(`berth version ${manifest.version}\nspec: ${OCI_RUNTIME_SPEC_VERSION}`)
    return 0
  }
  const [word, ...rest] = global.operands
  if (word === undefined || global.flag('help') || word === 'help') {
    console.log(`${helpText(GLOBAL, 'berth')}\nCommands: ${Object.keys(VERBS).join(' ')}`)
    return word === undefined && !global.flag('help') ? 1 : 0
  }
  using log = new Log({
    path: global.value('log') ?? null,
    format: global.value('log-format') ?? 'text',
    debug: global.flag('debug'),
  })
  try {
    const verb = await VERBS[word]?.()
    if (verb === undefined)
      throw new UsageError(GLOBAL, `Cannot run command "${word}": the runtime has none of that name`)
    const fd = global.value('launcher')
    // berth-runc names its connection first.
    const own = args.slice(fd === undefined ? 0 : 2, args.length - global.operands.length)
    const caller = {
      launcherFd: fd === undefined ? null : readLauncher(fd),
      command: [process.execPath, 'runtime', ...own],
    }
    return await runVerb(verb, rest, global, { ...caller, log })
  } catch (error) {
    log.failure(error)
    return 1
  }
}

async function runVerb(
  verb: RuntimeVerb,
  args: readonly string[],
  global: ParsedOptions,
  caller: Pick<RuntimeCall, 'launcherFd' | 'command' | 'log'>,
): Promise<number> {
  const { log } = caller
  const parsed = parseOptions({ ...verb.grammar, options: [...verb.grammar.options, HELP] }, args)
  if (parsed.flag(HELP.name)) {
    console.log(helpText(verb.grammar, 'berth'))
    return 0
  }
  const { operands } = verb.grammar
  const superfluous = operands.includes('...') ? undefined : parsed.operands[operands.split(' ').filter(Boolean).length]
  if (superfluous !== undefined)
    throw new UsageError(verb.grammar, `Cannot use argument "${superfluous}": expected ${operands || 'none'}`)
  const options: RuntimeOptions = {
    root: global.value('root') ?? defaultRoot(),
    systemdCgroup: global.flag('systemd-cgroup'),
    rootless: readRootless(global.value('rootless')),
    warn: message => log.warn(message),
    ...(global.flag('debug') && { debug: (message: string) => log.debug(message) }),
  }
  return await verb.run({ ...caller, options, parsed })
}

function readLauncher(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text)
  throw new UsageError(GLOBAL, `Cannot use --launcher "${text}": expected the number of an fd`)
}

function readRootless(text = 'auto'): boolean | null {
  if (text === 'auto') return null
  if (text === 'true' || text === 'false') return text === 'true'
  throw new UsageError(GLOBAL, `Cannot use --rootless "${text}": expected true, false or auto`)
}

/** /run/berth for root; a user's containers are below the directory that his session has for such things. */
function defaultRoot(): string {
  if (process.getuid?.() === 0) return '/run/berth'
  const runtimeDirectory = process.env['XDG_RUNTIME_DIR']
  if (runtimeDirectory === undefined)
    throw new BerthError(
      'unavailable',
      'Cannot find a directory for state: XDG_RUNTIME_DIR is not set, expected it or --root',
    )
  return `${runtimeDirectory}/berth`
}

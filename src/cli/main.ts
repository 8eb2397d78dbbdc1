import { basename } from 'node:path'
import manifest from '../../package.json' with { type: 'json' }
import type { GivenRoots } from '../engine/data-root.ts'
import type { DriverName } from '../snapshot/snapshot-driver.ts'
import { ENGINE_FAILURE, fail } from './failure.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'

/** A command: its arguments in, its exit status out. Commands are loaded when they are called, so that none pays for another. */
type Command = (args: readonly string[], roots: GivenRoots) => Promise<number>

interface CommandEntry {
  readonly help: string
  readonly load: () => Promise<Command>
  /** It works on the machine, not on the engine's containers: there is nothing that the engine's roots could change. */
  readonly withoutRoots?: true
}

const COMMANDS: Readonly<Record<string, CommandEntry>> = {
  run: { help: 'Run a command in a new container', load: async () => (await import('./run.ts')).runCommand },
  ps: { help: 'List containers', load: async () => (await import('./ps.ts')).psCommand },
  rm: { help: 'Remove containers', load: async () => (await import('./rm.ts')).rmCommand },
  explain: {
    help: 'Print the kernel calls that a command would make',
    load: async () => (await import('./explain.ts')).explainCommand,
  },
  runtime: {
    help: 'The OCI runtime: create, start, exec, kill, delete …',
    load: async () => (await import('./runtime/command.ts')).runtimeCommand,
    withoutRoots: true,
  },
  ns: {
    help: 'Show the namespaces of this machine',
    load: async () => {
      const [{ nsCommand }, { containerOf }] = await Promise.all([
        import('./ns.ts'),
        import('../engine/container-of.ts'),
      ])
      return args => nsCommand(args, text => process.stdout.write(text), { containerOf })
    },
    withoutRoots: true,
  },
}

const GRAMMAR: Grammar = {
  name: '',
  operands: 'COMMAND',
  help: 'A container engine for Linux',
  options: [
    { name: 'root', kind: 'value', value: 'DIR', help: 'where containers and images are (default: /var/lib/berth)' },
    { name: 'run-root', kind: 'value', value: 'DIR', help: 'where live state is (default: /run/berth)' },
    {
      name: 'storage-driver',
      kind: 'value',
      value: 'NAME',
      help: 'overlay, btrfs, fuse-overlayfs or vfs (default: what the store was made with, else the first that works)',
    },
    { name: 'help', short: 'h', kind: 'flag', help: 'show this text' },
    { name: 'version', short: 'v', kind: 'flag', help: 'show the version' },
  ],
  stopAtOperand: true,
}

/** Runs one command line. `name`: how the program was called; as `runc` or `berth-runc` it is the OCI runtime. */
async function main(name: string, args: readonly string[]): Promise<number> {
  if (/(^|-)runc$/.test(name)) return await (await import('./runtime/command.ts')).runtimeCommand(args)
  const parsed = parseOptions(GRAMMAR, args)
  const [word, ...rest] = parsed.operands
  if (parsed.flag('version') || word === 'version') {
    console.log(`berth version ${manifest.version}`)
    return 0
  }
  if (word === undefined || parsed.flag('help') || word === 'help') {
    console.log(usage())
    return word === undefined && !parsed.flag('help') ? ENGINE_FAILURE : 0
  }
  const command = COMMANDS[word]
  if (command === undefined) throw new UsageError(GRAMMAR, `Cannot run "${word}": berth has no command of that name`)
  const [data, run, driver] = ['root', 'run-root', 'storage-driver'].map(name => parsed.value(name))
  if (command.withoutRoots === true && [data, run, driver].some(value => value !== undefined))
    throw new UsageError(
      GRAMMAR,
      `Cannot use --root, --run-root and --storage-driver with "${word}": it has no containers of the engine`,
    )
  const roots: GivenRoots = {
    ...(data !== undefined && { data }),
    ...(run !== undefined && { run }),
    ...(driver !== undefined && { storageDriver: await storageDriver(driver) }),
  }
  return await (await command.load())(rest, roots)
}

async function storageDriver(text: string): Promise<DriverName> {
  return (await import('../snapshot/open-driver.ts')).parseDriverName(text)
}

function usage(): string {
  const rows = Object.entries(COMMANDS).map(([name, { help }]) => `  ${name.padEnd(10)}${help}`)
  return `${helpText(GRAMMAR, 'berth')}\nCommands:\n${rows.join('\n')}\n\nRun "berth COMMAND --help" for more on a command.`
}

main(basename(process.argv0), process.argv.slice(2)).then(
  status => process.exit(status),
  (error: unknown) => process.exit(fail(error)),
)

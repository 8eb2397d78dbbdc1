import { basename } from 'node:path'
import manifest from '../../package.json' with { type: 'json' }
import { fail } from './failure.ts'

/** A command: its arguments in, its exit status out. Commands are loaded when they are called, so that none pays for another. */
type Command = (args: readonly string[]) => Promise<number>

const COMMANDS: Readonly<Record<string, { readonly help: string; readonly load: () => Promise<Command> }>> = {
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
  },
  ns: {
    help: 'Show the namespaces of this machine',
    load: async () => {
      const { nsCommand } = await import('./ns.ts')
      return args => nsCommand(args, text => process.stdout.write(text))
    },
  },
}

/** Runs one command line. `name`: how the program was called; as `runc` or `berth-runc` it is the OCI runtime. */
async function main(name: string, args: readonly string[]): Promise<number> {
  if (/(^|-)runc$/.test(name)) return await (await import('./runtime/command.ts')).runtimeCommand(args)
  const [word, ...rest] = args
  if (word === '--version' || word === '-v' || word === 'version') {
    console.log(`berth version ${manifest.version}`)
    return 0
  }
  if (word === undefined || word === '--help' || word === '-h' || word === 'help') {
    console.log(usage())
    return word === undefined ? 125 : 0
  }
  const command = COMMANDS[word]
  if (command === undefined) {
    console.error(`berth: "${word}" is not a command; see "berth --help"`)
    return 125
  }
  return await (await command.load())(rest)
}

function usage(): string {
  const rows = Object.entries(COMMANDS).map(([name, { help }]) => `  ${name.padEnd(10)}${help}`)
  return `Usage: berth COMMAND\n\nA container engine for Linux\n\nCommands:\n${rows.join('\n')}\n\nRun "berth COMMAND --help" for more on a command.`
}

main(basename(process.argv0), process.argv.slice(2)).then(
  status => process.exit(status),
  (error: unknown) => process.exit(fail(error)),
)

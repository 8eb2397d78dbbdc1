import { basename } from 'node:path'
import manifest from '../../package.json' with { type: 'json' }
import type { GivenRoots } from '../engine/data-root.ts'
import { nearestName } from '../lib/nearest-name.ts'
import { LAYER_WORKER_ARGUMENT } from '../snapshot/layer-worker-argument.ts'
import type { DriverName } from '../snapshot/snapshot-driver.ts'
import type { CommandEntry } from './command-entry.ts'
import { COMMANDS, type CommandGroup } from './commands.ts'
import { ENGINE_FAILURE, fail } from './failure.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'
// Not by import(): what the entry point itself needs is one module for Bun, else some twenty that each have to be opened and linked.
// That is some 5 % of the CPU time of `runtime run`, and costs every command that is not the runtime's a millisecond or two.
import { runtimeCommand } from './runtime/command.ts'

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
      help: 'overlay, btrfs, fuse-overlayfs, vfs or erofs (default: what the store was made with, else the first that works)',
    },
    {
      name: 'policy',
      kind: 'value',
      value: 'FILE',
      help: 'which images are trusted (default: ~/.config/containers/policy.json, /etc/containers/policy.json)',
    },
    {
      name: 'keep-free',
      kind: 'value',
      value: 'SIZE|PERCENT',
      help: 'with less free space, images without a name that nothing needs are removed (default: 15%, at most 20 GiB; 0: never)',
    },
    { name: 'help', short: 'h', kind: 'flag', help: 'show this text' },
    { name: 'version', short: 'v', kind: 'flag', help: 'show the version' },
  ],
  stopAtOperand: true,
}

/** Runs one command line. `name`: how the program was called; as `runc` or `berth-runc` it is the OCI runtime. */
async function main(name: string, args: readonly string[]): Promise<number> {
  // What unpacks layers is this program too; nobody types that.
  if (args[0] === LAYER_WORKER_ARGUMENT) return await (await import('../snapshot/layer-worker.ts')).runLayerWorker()
  if (/(^|-)runc$/.test(name)) return await runtimeCommand(args)
  const parsed = parseOptions(GRAMMAR, args)
  const [word, ...rest] = parsed.operands
  if (parsed.flag('version') || word === 'version') {
    console.log(`berth version ${manifest.version}`)
    return 0
  }
  if (word === undefined || parsed.flag('help') || word === 'help') {
    console.log(usage(GRAMMAR, COMMANDS))
    return word === undefined && !parsed.flag('help') ? ENGINE_FAILURE : 0
  }
  const entry = Object.hasOwn(COMMANDS, word) ? COMMANDS[word] : undefined
  if (entry === undefined)
    throw new UsageError(GRAMMAR, `Cannot run "${word}": berth has no command of that name${meantOf(word, COMMANDS)}`)
  const names = ['root', 'run-root', 'storage-driver', 'policy', 'keep-free']
  const [data, run, driver, policy, free] = names.map(name => parsed.value(name))
  const places: GivenRoots = {
    ...(data !== undefined && { data }),
    ...(run !== undefined && { run }),
    ...(policy !== undefined && { policy }),
    ...(free !== undefined && {
      keepFree: (await import('../engine/disk-space.ts')).parseKeepFree(free, '--keep-free'),
    }),
  }
  const roots = driver === undefined ? places : { ...places, storageDriver: await storageDriver(driver, places) }
  if ('commands' in entry) return await runOfGroup(word, entry, rest, roots)
  return await runEntry(word, entry, rest, roots)
}

/** Checked for every command: also for those that make no container, what was asked for must be so. */
async function storageDriver(text: string, places: GivenRoots): Promise<DriverName> {
  const [{ parseDriverName }, { checkDriver, openDriver }, { engineRoots }, { isRootless }] = await Promise.all([
    import('../snapshot/driver-choice.ts'),
    import('../snapshot/open-driver.ts'),
    import('../engine/data-root.ts'),
    import('../engine/rootless.ts'),
  ])
  const name = parseDriverName(text)
  const { data } = engineRoots(places)
  const made = checkDriver(data, name)
  // The first layer has another form with it, so that the choice can't wait for the first container.
  if (made === null && name === 'erofs') await openDriver(data, { asked: name, isRootless: isRootless() })
  return name
}

async function runOfGroup(
  group: string,
  { help, commands }: CommandGroup,
  args: readonly string[],
  roots: GivenRoots,
): Promise<number> {
  const [word, ...rest] = args
  const grammar: Grammar = { name: group, operands: 'COMMAND', help, options: [] }
  if (word === undefined || word === '--help' || word === '-h' || word === 'help') {
    console.log(usage(grammar, commands))
    return word === undefined ? ENGINE_FAILURE : 0
  }
  const entry = Object.hasOwn(commands, word) ? commands[word] : undefined
  if (entry === undefined)
    throw new UsageError(
      grammar,
      `Cannot run "${group} ${word}": ${group} has no command of that name${meantOf(word, commands)}`,
    )
  return await runEntry(`${group} ${word}`, entry, rest, roots)
}

function meantOf(word: string, commands: Readonly<Record<string, unknown>>): string {
  const meant = nearestName(word, Object.keys(commands))
  return meant === null ? '' : `, did you mean "${meant}"?`
}

async function runEntry(
  name: string,
  entry: CommandEntry,
  args: readonly string[],
  roots: GivenRoots,
): Promise<number> {
  if (entry.withoutRoots === true && Object.keys(roots).length > 0)
    throw new UsageError(
      GRAMMAR,
      `Cannot use --root, --run-root, --storage-driver, --policy and --keep-free with "${name}": it has no containers of the engine`,
    )
  return await (await entry.load())(args, roots)
}

function usage(grammar: Grammar, commands: Readonly<Record<string, { readonly help: string }>>): string {
  const rows = Object.entries(commands).map(([name, { help }]) => `  ${name.padEnd(10)}${help}`)
  const called = ['berth', grammar.name, 'COMMAND'].filter(Boolean).join(' ')
  return `${helpText(grammar, 'berth')}\nCommands:\n${rows.join('\n')}\n\nRun "${called} --help" for more on a command.`
}

// A promise that nobody is going to fulfil would end the process with status 0, as if all were well.
process.once('beforeExit', () => {
  console.error('berth: internal error: the command has come to no end')
  process.exit(ENGINE_FAILURE)
})
main(basename(process.argv0), process.argv.slice(2)).then(
  status => process.exit(status),
  (error: unknown) => process.exit(fail(error)),
)

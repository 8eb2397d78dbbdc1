import type { CommandEntry } from './command-entry.ts'
import { IMAGE_COMMANDS, IMAGE_SHORT_COMMANDS, MANIFEST_COMMANDS } from './image-commands.ts'
import { SYSTEM_COMMANDS } from './system-commands.ts'

/** Commands about one kind of thing: `berth image pull`. */
export interface CommandGroup {
  readonly help: string
  readonly commands: Readonly<Record<string, CommandEntry>>
}

const pull: CommandEntry = {
  help: 'Fetch an image from a registry',
  load: async () => (await import('./pull.ts')).pullCommand,
}
const push: CommandEntry = {
  help: 'Send an image to a registry',
  load: async () => (await import('./push.ts')).pushCommand,
}
const importEntry: CommandEntry = {
  help: 'Make an image of a tar archive',
  load: async () => (await import('./import.ts')).importCommand,
}

const bootstrap: CommandEntry = {
  help: "Make an image of a distribution's package archive",
  load: async () => (await import('./bootstrap.ts')).bootstrapCommand,
}

/** What the first word of a command line can be. A command of a group that has a short name stands here twice, as one constant. */
export const COMMANDS: Readonly<Record<string, CommandEntry | CommandGroup>> = {
  run: { help: 'Run a command in a new container', load: async () => (await import('./run.ts')).runCommand },
  ps: { help: 'List containers', load: async () => (await import('./ps.ts')).psCommand },
  rm: { help: 'Remove containers', load: async () => (await import('./rm.ts')).rmCommand },
  diff: { help: 'Show what a container has changed', load: async () => (await import('./diff.ts')).diffCommand },
  commit: { help: 'Make an image of a container', load: async () => (await import('./commit.ts')).commitCommand },
  export: { help: "Write a container's files as tar", load: async () => (await import('./export.ts')).exportCommand },
  import: importEntry,
  pull,
  push,
  ...IMAGE_SHORT_COMMANDS,
  image: { help: 'Images in the store', commands: { pull, push, import: importEntry, bootstrap, ...IMAGE_COMMANDS } },
  container: {
    help: 'Containers',
    commands: {
      prune: {
        help: 'Remove the containers that have ended',
        load: async () => (await import('./container-prune.ts')).containerPruneCommand,
      },
    },
  },
  system: { help: 'The engine as a whole, and its disk', commands: SYSTEM_COMMANDS },
  manifest: { help: 'Lists of images, one per platform', commands: MANIFEST_COMMANDS },
  login: {
    help: 'Log in to a registry',
    load: async () => (await import('./login.ts')).loginCommand,
    withoutRoots: true,
  },
  logout: {
    help: 'Log out of a registry',
    load: async () => (await import('./logout.ts')).logoutCommand,
    withoutRoots: true,
  },
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

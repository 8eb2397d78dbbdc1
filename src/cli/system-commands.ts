import type { CommandEntry } from './command-entry.ts'

/** `berth system …`. */
export const SYSTEM_COMMANDS: Readonly<Record<string, CommandEntry>> = {
  df: {
    help: 'Show what takes space of the disk',
    load: async () => (await import('./system-df.ts')).systemDfCommand,
  },
  prune: {
    help: 'Remove containers that have ended and images that nobody needs',
    load: async () => (await import('./system-prune.ts')).systemPruneCommand,
  },
  gc: {
    help: 'Remove what nothing needs, or show what that is',
    load: async () => (await import('./system-gc.ts')).systemGcCommand,
  },
}

import type { CommandEntry } from './command-entry.ts'

const list: CommandEntry = { help: 'List images', load: async () => (await import('./images.ts')).imagesCommand }
const inspect: CommandEntry = {
  help: 'Print what is known of images and containers, as JSON',
  load: async () => (await import('./inspect.ts')).inspectCommand,
}
const history: CommandEntry = {
  help: 'Show how an image was made',
  load: async () => (await import('./history.ts')).historyCommand,
}
const tag: CommandEntry = {
  help: 'Give an image one name more',
  load: async () => (await import('./tag.ts')).tagCommand,
}
const remove: CommandEntry = {
  help: 'Remove names of images, and images',
  load: async () => (await import('./rmi.ts')).rmiCommand,
}
const save: CommandEntry = {
  help: 'Write images to an archive',
  load: async () => (await import('./save.ts')).saveCommand,
}
const load: CommandEntry = {
  help: 'Take images from an archive',
  load: async () => (await import('./load.ts')).loadCommand,
}
const search: CommandEntry = {
  help: 'Look for images in a registry',
  load: async () => (await import('./search.ts')).searchCommand,
  withoutRoots: true,
}

/** Commands about images that users know by a short name. */
export const IMAGE_SHORT_COMMANDS: Readonly<Record<string, CommandEntry>> = {
  images: list,
  inspect,
  history,
  tag,
  rmi: remove,
  save,
  load,
  search,
}

/** `berth image …`. */
export const IMAGE_COMMANDS: Readonly<Record<string, CommandEntry>> = {
  ls: list,
  list,
  inspect: {
    help: 'Print what is known of images, as JSON',
    load: async () => (await import('./inspect.ts')).imageInspectCommand,
  },
  history,
  tag,
  rm: remove,
  save,
  load,
  prune: {
    help: 'Remove images that nobody needs',
    load: async () => (await import('./image-prune.ts')).imagePruneCommand,
  },
  pin: {
    help: 'Keep images from being pruned or collected as garbage',
    load: async () => (await import('./image-pin.ts')).imagePinCommand,
  },
  unpin: {
    help: 'Let images be pruned and collected as garbage again',
    load: async () => (await import('./image-pin.ts')).imageUnpinCommand,
  },
  trust: {
    help: 'Show what the trust policy says of an image',
    load: async () => (await import('./image-trust.ts')).imageTrustCommand,
  },
  verify: {
    help: 'Compare all content of images with its digests',
    load: async () => (await import('./image-verify.ts')).imageVerifyCommand,
  },
}

/** `berth manifest …`. */
export const MANIFEST_COMMANDS: Readonly<Record<string, CommandEntry>> = {
  create: {
    help: 'Make a list of images',
    load: async () => (await import('./manifest.ts')).manifestCreateCommand,
  },
  inspect: {
    help: 'Print a list, or a manifest, as it is stored',
    load: async () => (await import('./manifest.ts')).manifestInspectCommand,
  },
  annotate: {
    help: 'Change what a list says of one of its images',
    load: async () => (await import('./manifest.ts')).manifestAnnotateCommand,
  },
  push: {
    help: 'Send a list and its images to a registry',
    load: async () => (await import('./manifest-push.ts')).manifestPushCommand,
  },
  rm: { help: 'Remove lists', load: async () => (await import('./manifest.ts')).manifestRemoveCommand },
}

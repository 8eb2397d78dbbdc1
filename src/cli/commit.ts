import { type CommitOptions, commitContainer } from '../engine/commit-container.ts'
import type { GivenRoots } from '../engine/data-root.ts'
import { withSpace } from '../engine/keep-space.ts'
import { openEngine } from '../engine/open-engine.ts'
import { imageId } from '../image/image-record.ts'
import { warnOnStderr } from './failure.ts'
import { interruptible } from './interruptible.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'
import { sourceDateEpoch } from './source-date-epoch.ts'

const grammar: Grammar = {
  name: 'commit',
  operands: 'CONTAINER [REFERENCE]',
  help: 'Makes an image of a container: its image and what it has changed. With SOURCE_DATE_EPOCH in the environment the image is from that moment.',
  options: [
    { name: 'author', short: 'a', kind: 'value', value: 'NAME', help: 'who made it' },
    { name: 'message', short: 'm', kind: 'value', value: 'TEXT', help: 'what is new' },
    {
      name: 'change',
      short: 'c',
      kind: 'values',
      value: 'INSTRUCTION',
      help: 'change its config: CMD, ENV, USER … of a Dockerfile',
    },
    {
      name: 'pause',
      short: 'p',
      kind: 'flag',
      help: 'stop the processes meanwhile (default; --pause=false: let them run)',
    },
    { name: 'compression', kind: 'value', value: 'HOW', help: 'gzip (default), zstd or none' },
    { name: 'quiet', short: 'q', kind: 'flag', help: 'no warnings' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** `berth commit`: prints the id of the image. */
export async function commitCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  const [container, reference = null, ...more] = parsed.operands
  if (container === undefined || more.length > 0)
    throw new UsageError(grammar, 'Cannot commit: expected a container and at most one name')
  const engine = openEngine(roots, message => {
    if (!parsed.flag('quiet')) warnOnStderr(message)
  })
  const options: Omit<CommitOptions, 'signal'> = {
    reference,
    changes: parsed.values('change'),
    message: parsed.value('message') ?? '',
    author: parsed.value('author') ?? '',
    pause: parsed.value('pause') === undefined || parsed.flag('pause'),
    compression: compressionOf(parsed.value('compression') ?? 'gzip'),
    epochSeconds: sourceDateEpoch(),
  }
  // In order: the container's processes are stopped meanwhile.
  return await interruptible(async signal => {
    console.log(imageId(await withSpace(engine, () => commitContainer(container, { ...options, signal }, engine))))
  })
}

function compressionOf(text: string): CommitOptions['compression'] {
  if (text === 'gzip' || text === 'zstd' || text === 'none') return text
  throw new UsageError(grammar, `Cannot use --compression: "${text}" is unknown, expected gzip, zstd or none`)
}

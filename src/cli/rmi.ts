import type { GivenRoots } from '../engine/data-root.ts'
import { keepSpace } from '../engine/keep-space.ts'
import { listContainers } from '../engine/list-containers.ts'
import { openEngineWithImages } from '../engine/open-images.ts'
import { withReserve } from '../engine/space-reserve.ts'
import { removeImage } from '../image/remove-image.ts'
import { BerthError } from '../lib/error.ts'
import { fail, warnOnStderr } from './failure.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'

const grammar: Grammar = {
  name: 'rmi',
  operands: 'IMAGE...',
  help: 'Removes names of images; an image goes with its last name.',
  options: [
    {
      name: 'force',
      short: 'f',
      kind: 'flag',
      help: 'also with several names, and when ended containers were made of it',
    },
    { name: 'no-prune', kind: 'flag', help: 'leave what the image needed to the garbage collector' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** Docker's status when some images could not be removed. */
const SOME_FAILED = 1

/** `berth rmi`. */
export async function rmiCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  if (parsed.operands.length === 0) throw new UsageError(grammar, 'Cannot remove images: none is named')
  const engine = await openEngineWithImages(roots, warnOnStderr)
  const alive = new Set(
    listContainers(engine)
      .filter(({ status }) => status !== 'stopped')
      .map(({ id }) => id),
  )
  const options = {
    force: parsed.flag('force'),
    keepContent: parsed.flag('no-prune'),
    isRunning: (id: string) => alive.has(id),
  }
  let status = 0
  for (const text of parsed.operands) {
    try {
      const { untagged, deleted } = await withReserve(engine.roots.data, () =>
        removeImage(text, engine.images, options),
      )
      for (const name of untagged) console.log(`Untagged: ${name}`)
      for (const digest of deleted) console.log(`Deleted: ${digest}`)
    } catch (error) {
      if (!(error instanceof BerthError)) throw error
      // With --force an image that is not there is gone already, which is what was wanted.
      if (options.force && error.category === 'notFound') continue
      fail(error)
      status = SOME_FAILED
    }
  }
  await keepSpace(engine)
  return status
}

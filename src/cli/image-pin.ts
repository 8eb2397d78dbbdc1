import type { GivenRoots } from '../engine/data-root.ts'
import { openEngineWithImages } from '../engine/open-images.ts'
import { findImage } from '../image/find-image.ts'
import { BerthError } from '../lib/error.ts'
import { fail, warnOnStderr } from './failure.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'

/** Docker's status when some images could not be found. */
const SOME_FAILED = 1

/** `berth image pin`: no garbage collection and no prune takes the images. */
export function imagePinCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  return pin(args, roots, true, 'Keeps images from being pruned or collected as garbage.')
}

/** `berth image unpin`. */
export function imageUnpinCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  return pin(args, roots, false, 'Lets images be pruned and collected as garbage again.')
}

async function pin(args: readonly string[], roots: GivenRoots, pinned: boolean, help: string): Promise<number> {
  const grammar: Grammar = {
    name: pinned ? 'image pin' : 'image unpin',
    operands: 'IMAGE...',
    help,
    options: [{ name: 'help', kind: 'flag', help: 'show this text' }],
  }
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  if (parsed.operands.length === 0) throw new UsageError(grammar, `Cannot use ${grammar.name}: no image is named`)
  const { images } = await openEngineWithImages(roots, warnOnStderr)
  let status = 0
  for (const text of parsed.operands) {
    try {
      images.records.pin(findImage(text, images.records).image.digest, pinned)
      console.log(text)
    } catch (error) {
      if (!(error instanceof BerthError)) throw error
      fail(error)
      status = SOME_FAILED
    }
  }
  return status
}

import type { GivenRoots } from '../engine/data-root.ts'
import { openEngineWithImages } from '../engine/open-images.ts'
import { tagImage } from '../image/tag-image.ts'
import { warnOnStderr } from './failure.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'

const grammar: Grammar = {
  name: 'tag',
  operands: 'IMAGE NAME[:TAG]',
  help: 'Gives an image one name more.',
  options: [{ name: 'help', kind: 'flag', help: 'show this text' }],
}

/** `berth tag`. */
export async function tagCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  const [source, target, ...more] = parsed.operands
  if (source === undefined || target === undefined || more.length > 0) {
    throw new UsageError(grammar, `Cannot tag with ${parsed.operands.length} names: expected an image and a name`)
  }
  const { images } = await openEngineWithImages(roots, warnOnStderr)
  await tagImage(source, target, images)
  return 0
}

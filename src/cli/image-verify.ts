import type { GivenRoots } from '../engine/data-root.ts'
import { openEngineWithImages } from '../engine/open-images.ts'
import { type Damage, removeDamaged, verifyImages } from '../image/verify-images.ts'
import { warnOnStderr } from './failure.ts'
import { interruptible } from './interruptible.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'
import { printable } from './table.ts'

const grammar: Grammar = {
  name: 'image verify',
  operands: '',
  help: 'Reads all content of images again and compares it with its digests.',
  options: [
    { name: 'repair', kind: 'flag', help: 'remove damaged blobs, so that the next pull brings them again' },
    { name: 'quiet', short: 'q', kind: 'flag', help: 'tell the result by the exit status only' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

const DAMAGED = 1

/** `berth image verify`: 1 when something is damaged and was not removed. */
export async function imageVerifyCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  if (parsed.operands.length > 0) {
    throw new UsageError(
      grammar,
      `Cannot verify "${parsed.operands[0]}" alone: images share content, and all is verified`,
    )
  }
  const { images } = await openEngineWithImages(roots, warnOnStderr)
  const print = (line: string): void => {
    if (!parsed.flag('quiet')) console.log(line)
  }
  const damages: Damage[] = []
  const interrupted = await interruptible(async signal => {
    for await (const damage of verifyImages(images, signal)) {
      damages.push(damage)
      print(printable(lineOf(damage)))
    }
  })
  if (interrupted !== 0) return interrupted
  if (damages.length === 0) {
    print('All content is as its digests say.')
    return 0
  }
  if (!parsed.flag('repair')) return DAMAGED
  const count = await removeDamaged(damages, images)
  print(`Removed ${count} damaged blobs; the next pull of their images brings them again.`)
  // What can't be removed is still damaged: a layer that is unpacked, or a file that is no blob.
  return damages.every(({ kind, digest }) => kind === 'blob' && digest !== null) ? 0 : DAMAGED
}

function lineOf({ kind, digest, why, images }: Damage): string {
  const needed = images.length === 0 ? 'no image needs it' : `needed by ${images.join(', ')}`
  return `damaged ${kind} ${digest ?? 'unknown'}: ${why} (${needed})`
}

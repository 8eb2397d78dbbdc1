import type { GivenRoots } from '../engine/data-root.ts'
import { openEngine } from '../engine/open-engine.ts'
import { ImageTransfers } from '../engine/transfer-images.ts'
import type { PushOptions } from '../image/push-image.ts'
import { BerthError } from '../lib/error.ts'
import { parsePlatform } from '../oci/platform.ts'
import { parseReference, printRepository, type Reference, withDefaultTag } from '../oci/reference.ts'
import { interruptible } from './interruptible.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'
import { TransferShow, warnBeside } from './transfer-show.ts'

const grammar: Grammar = {
  name: 'push',
  operands: 'NAME[:TAG]',
  help: 'Sends an image of the store to the registry of its name, byte for byte.',
  options: [
    { name: 'all-tags', short: 'a', kind: 'flag', help: 'all tags that the repository has here' },
    { name: 'platform', kind: 'value', value: 'OS/ARCH', help: 'this platform of it only' },
    { name: 'quiet', short: 'q', kind: 'flag', help: 'print the name only' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** `berth push`. */
export async function pushCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  const [name, ...more] = parsed.operands
  if (name === undefined || more.length > 0)
    throw new UsageError(grammar, `Cannot push ${parsed.operands.length} images: expected one name`)
  const reference = parseReference(name)
  if (reference.digest !== null || (parsed.flag('all-tags') && reference.tag !== null))
    throw new BerthError(
      'invalidArgument',
      `Cannot push "${name}": expected a name ${reference.digest === null ? 'without a tag' : 'with a tag or none'}`,
    )
  const platform = parsed.value('platform')
  const engine = openEngine(roots, warnBeside)
  using transfers = await ImageTransfers.open(engine)
  const references = parsed.flag('all-tags') ? transfers.localTagsOf(reference) : [withDefaultTag(reference)]
  const options = { platform: platform === undefined ? null : parsePlatform(platform), warn: engine.warn }
  if (!parsed.flag('quiet')) console.log(`The push refers to repository [${printRepository(reference)}]`)
  return await interruptible(async signal => {
    for (const each of references) await pushOne(transfers, each, { ...options, signal }, parsed.flag('quiet'))
  })
}

async function pushOne(
  transfers: ImageTransfers,
  reference: Reference,
  options: PushOptions,
  isQuiet: boolean,
): Promise<void> {
  if (isQuiet) {
    await transfers.push(reference, options)
    console.log(`${printRepository(reference)}:${reference.tag}`)
    return
  }
  using show = new TransferShow(process.stdout, 'push')
  const { digest, sizeBytes } = await transfers.push(reference, { ...options, onProgress: show.onProgress })
  show[Symbol.dispose]()
  console.log(`${reference.tag}: digest: ${digest} size: ${sizeBytes}`)
}

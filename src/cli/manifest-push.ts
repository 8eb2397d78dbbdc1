import type { GivenRoots } from '../engine/data-root.ts'
import { openEngine } from '../engine/open-engine.ts'
import { ImageTransfers } from '../engine/transfer-images.ts'
import { removeManifestList } from '../image/manifest-list.ts'
import { parseReference, withDefaultTag } from '../oci/reference.ts'
import { interruptible } from './interruptible.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'
import { printable } from './table.ts'

const grammar: Grammar = {
  name: 'manifest push',
  operands: 'LIST',
  help: 'Sends a list, with all images in it, to the registry of its name.',
  options: [
    { name: 'purge', short: 'p', kind: 'flag', help: 'remove the list here afterwards' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** `berth manifest push`. */
export async function manifestPushCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  const [list, ...more] = parsed.operands
  if (list === undefined || more.length > 0) {
    throw new UsageError(grammar, `Cannot push ${parsed.operands.length} lists: expected one`)
  }
  const engine = openEngine(roots, message => console.error(`berth: warning: ${printable(message)}`))
  using transfers = await ImageTransfers.open(engine)
  return await interruptible(async signal => {
    const reference = withDefaultTag(parseReference(list))
    const { digest } = await transfers.push(reference, { platform: null, warn: engine.warn, signal })
    if (parsed.flag('purge')) await removeManifestList(list, transfers.store)
    console.log(digest)
  })
}

import type { GivenRoots } from '../engine/data-root.ts'
import { openEngine } from '../engine/open-engine.ts'
import { ImageTransfers } from '../engine/transfer-images.ts'
import type { PulledImage } from '../image/pull-image.ts'
import { BerthError } from '../lib/error.ts'
import { type Platform, parsePlatform } from '../oci/platform.ts'
import { familiarReference, parseReference, printReference, type Reference, withDefaultTag } from '../oci/reference.ts'
import { interruptible } from './interruptible.ts'
import { type Grammar, helpText, type ParsedOptions, parseOptions, UsageError } from './options.ts'
import { TransferShow, warnBeside } from './transfer-show.ts'

const grammar: Grammar = {
  name: 'pull',
  operands: 'NAME[:TAG|@DIGEST]',
  help: 'Fetches an image from its registry into the store.',
  options: [
    { name: 'all-tags', short: 'a', kind: 'flag', help: 'all tags of the repository' },
    { name: 'platform', kind: 'value', value: 'OS/ARCH', help: 'which platform of it (default: this machine’s)' },
    { name: 'quiet', short: 'q', kind: 'flag', help: 'print the name only' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** `berth pull`. */
export async function pullCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  const [name, ...more] = parsed.operands
  if (name === undefined || more.length > 0)
    throw new UsageError(grammar, `Cannot pull ${parsed.operands.length} images: expected one name`)
  const platform = parsed.value('platform')
  const reference = readReference(name, parsed)
  const engine = openEngine(roots, warnBeside)
  using transfers = await ImageTransfers.open(engine)
  return await interruptible(async signal => {
    const pull = new PullCommand(transfers, {
      platform: platform === undefined ? null : parsePlatform(platform),
      isQuiet: parsed.flag('quiet'),
      warn: engine.warn,
      signal,
    })
    if (parsed.flag('all-tags')) await pull.all(reference)
    else await pull.one(reference)
  })
}

function readReference(name: string, parsed: ParsedOptions): Reference {
  const reference = parseReference(name)
  const { tag, digest } = reference
  if (parsed.flag('all-tags')) {
    if (tag === null && digest === null) return reference
    throw new BerthError('invalidArgument', `Cannot pull all tags of "${name}": expected a name without tag or digest`)
  }
  if (tag === null && digest === null && !parsed.flag('quiet')) console.log('Using default tag: latest')
  return withDefaultTag(reference)
}

interface PullChoices {
  readonly platform: Platform | null
  readonly isQuiet: boolean
  readonly warn: (message: string) => void
  readonly signal: AbortSignal
}

class PullCommand {
  readonly #transfers: ImageTransfers
  readonly #choices: PullChoices

  constructor(transfers: ImageTransfers, choices: PullChoices) {
    this.#transfers = transfers
    this.#choices = choices
  }

  async all(repository: Reference): Promise<void> {
    let count = 0
    for await (const reference of this.#transfers.tagsOf(repository, this.#choices.signal)) {
      await this.one(reference)
      count++
    }
    if (count === 0)
      throw new BerthError('notFound', `Cannot pull "${familiarReference(repository)}": it has no tags in its registry`)
  }

  async one(reference: Reference): Promise<void> {
    const { isQuiet, ...options } = this.#choices
    if (isQuiet) {
      const { name } = await this.#transfers.pull(reference, options)
      console.log(name)
      return
    }
    const { tag, digest } = reference
    console.log(`${tag ?? digest}: Pulling from ${familiarReference({ ...reference, tag: null, digest: null })}`)
    const pulled = await this.#show(reference, options)
    for (const line of summary(reference, pulled)) console.log(line)
  }

  async #show(reference: Reference, options: Omit<PullChoices, 'isQuiet'>): Promise<PulledImage> {
    using show = new TransferShow(process.stdout, 'pull')
    return await this.#transfers.pull(reference, { ...options, onProgress: show.onProgress })
  }
}

/** As docker prints it; and what docker does not tell: what the name stood for before. */
function summary(reference: Reference, { image, before, isNew, name }: PulledImage): readonly string[] {
  const shown = familiarReference(reference)
  const moved = before !== null && before !== image.digest
  return [
    `Digest: ${image.digest}`,
    ...(moved ? [`Moved: ${shown} was ${before}`] : []),
    isNew ? `Status: Downloaded newer image for ${shown}` : `Status: Image is up to date for ${shown}`,
    name === printReference(reference) ? name : printReference(reference),
  ]
}

import { readFileSync } from 'node:fs'
import { type BootstrapRequest, bootstrapImage } from '../engine/bootstrap-image.ts'
import type { GivenRoots } from '../engine/data-root.ts'
import { withSpace } from '../engine/keep-space.ts'
import { openEngine } from '../engine/open-engine.ts'
import { imageId } from '../image/image-record.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { warnOnStderr } from './failure.ts'
import { interruptible } from './interruptible.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'

const grammar: Grammar = {
  name: 'image bootstrap',
  operands: 'DISTRIBUTION[:SUITE]',
  help: "Makes an image of a distribution's package archive, without any registry: debian:bookworm, ubuntu:noble.\nWithout a suite: Debian's stable release.",
  options: [
    {
      name: 'tag',
      short: 't',
      kind: 'value',
      value: 'NAME[:TAG]',
      help: 'name of the image (default: as the operand)',
    },
    { name: 'include', kind: 'values', value: 'PACKAGE[,…]', help: 'packages beyond what every system has' },
    { name: 'variant', kind: 'value', value: 'minbase|essential', help: 'with apt (default), or without' },
    { name: 'mirror', kind: 'value', value: 'URL', help: 'archive to take packages from' },
    { name: 'snapshot', kind: 'value', value: 'TIME', help: 'the archive as of then: 20260101T000000Z' },
    { name: 'keyring', kind: 'value', value: 'FILE', help: "OpenPGP keys instead of the distribution's own" },
    { name: 'quiet', short: 'q', kind: 'flag', help: 'print the image’s ID only' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** `berth image bootstrap`. */
export async function bootstrapCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  const [operand, ...others] = parsed.operands
  if (operand === undefined || others.length > 0)
    throw new UsageError(grammar, 'Cannot bootstrap: expected one DISTRIBUTION[:SUITE]')
  const [distribution = '', suite = 'latest'] = operand.split(':')
  const variant = parsed.value('variant') ?? 'minbase'
  if (variant !== 'minbase' && variant !== 'essential')
    throw new BerthError('invalidArgument', `Cannot use variant "${variant}": expected minbase or essential`)
  const keyring = parsed.value('keyring')
  const quiet = parsed.flag('quiet')
  const engine = openEngine(roots, warnOnStderr)
  const request: BootstrapRequest = {
    distribution,
    suite,
    reference: parsed.value('tag') ?? operand,
    include: parsed
      .values('include')
      .flatMap(each => each.split(','))
      .filter(Boolean),
    variant,
    mirror: parsed.value('mirror') ?? null,
    snapshot: parsed.value('snapshot') ?? null,
    keyring: keyring === undefined ? null : readKeyring(keyring),
  }
  const onProgress = (message: string): void => {
    if (!quiet) console.error(message)
  }
  return await interruptible(async signal => {
    console.log(imageId(await withSpace(engine, () => bootstrapImage(request, engine, { onProgress, signal }))))
  })
}

function readKeyring(path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new BerthError('invalidArgument', `Cannot read keyring "${path}": ${messageOf(cause)}`, { cause })
  }
}

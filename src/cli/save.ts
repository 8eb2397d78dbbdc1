import type { GivenRoots } from '../engine/data-root.ts'
import { openEngineWithImages } from '../engine/open-images.ts'
import { findImage } from '../image/find-image.ts'
import { onHostWarning } from '../image/host-image.ts'
import { type ArchiveFormat, saveImages } from '../image/save-images.ts'
import { parsePlatform } from '../oci/platform.ts'
import type { ByteWriter } from '../snapshot/block-gzip.ts'
import { warnOnStderr } from './failure.ts'
import { interruptible } from './interruptible.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'
import { outputFile } from './output-file.ts'
import { printable } from './table.ts'

const grammar: Grammar = {
  name: 'save',
  operands: 'IMAGE...',
  help: 'Writes images with all that belongs to them to an archive.',
  options: [
    { name: 'output', short: 'o', kind: 'value', value: 'FILE', help: 'where to (default: standard output)' },
    {
      name: 'format',
      kind: 'value',
      value: 'FORMAT',
      help: 'docker-archive, which all engines read, or oci-archive (default: docker-archive)',
    },
    { name: 'platform', kind: 'value', value: 'PLATFORM', help: 'only this one of each image (default: all here)' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** `berth save`. */
export async function saveCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  if (parsed.operands.length === 0) throw new UsageError(grammar, 'Cannot save: no image is named')
  const platform = parsed.value('platform')
  const options = {
    format: archiveFormat(parsed.value('format') ?? 'docker-archive'),
    ...(platform === undefined ? {} : { platform: parsePlatform(platform) }),
  }
  const { images } = await openEngineWithImages(roots, warnOnStderr)
  const found = parsed.operands.map(text => findImage(text, images.records))
  for (const [index, { image }] of found.entries())
    if (images.records.isOnHost(image.digest))
      console.error(`berth: warning: ${printable(onHostWarning(parsed.operands[index] ?? ''))}`)
  const output = parsed.value('output')
  return await interruptible(async signal => {
    const save = async (write: ByteWriter): Promise<void> => {
      for await (const piece of saveImages(found, images, { ...options, signal })) await write(piece)
    }
    await outputFile(output ?? null, save, signal)
  })
}

function archiveFormat(text: string): ArchiveFormat {
  if (text === 'docker-archive' || text === 'oci-archive') return text
  throw new UsageError(grammar, `Cannot save as "${text}": expected docker-archive or oci-archive`)
}

import { createReadStream, statSync } from 'node:fs'
import { addAbortSignal, type Readable } from 'node:stream'
import type { GivenRoots } from '../engine/data-root.ts'
import { ImageTrust } from '../engine/image-trust.ts'
import { withSpace } from '../engine/keep-space.ts'
import { openEngineWithImages } from '../engine/open-images.ts'
import { imageId } from '../image/image-record.ts'
import { type LoadCheck, type LoadedImage, loadImages } from '../image/load-images.ts'
import { loadLayout } from '../image/load-layout.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { parsePlatform } from '../oci/platform.ts'
import { familiarReference, parseReference } from '../oci/reference.ts'
import { interruptible } from './interruptible.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'
import { sayBeside, TransferShow, warnBeside } from './transfer-show.ts'

const grammar: Grammar = {
  name: 'load',
  operands: '',
  help: 'Takes the images of an archive of docker, podman or skopeo, or of an OCI layout, into the store.',
  options: [
    {
      name: 'input',
      short: 'i',
      kind: 'value',
      value: 'FILE',
      help: 'archive, compressed with gzip, zstd, xz or not, or layout directory (default: standard input)',
    },
    { name: 'platform', kind: 'value', value: 'PLATFORM', help: 'only this one of each image (default: all)' },
    { name: 'quiet', short: 'q', kind: 'flag', help: 'print nothing but the names' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** Fewer, larger reads: what follows works in such pieces too. */
const READ_BYTES = 256 * 1024

/** `berth load`. */
export async function loadCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  if (parsed.operands.length > 0) {
    throw new UsageError(
      grammar,
      `Cannot load "${parsed.operands[0]}": expected an archive by --input or standard input`,
    )
  }
  const input = parsed.value('input')
  const isDirectory = input !== undefined && isDirectoryAt(input)
  if (input === undefined && process.stdin.isTTY) {
    throw new UsageError(
      grammar,
      'Cannot load an archive from a terminal: expected --input FILE, or one as standard input',
    )
  }
  const platform = parsed.value('platform')
  const warn = (message: string): void => {
    if (!parsed.flag('quiet')) warnBeside(message)
  }
  const options = {
    warn,
    onMoved: (moved: readonly { readonly name: string; readonly from: string }[]) => {
      for (const { name, from } of moved) {
        sayBeside(`The image ${shown(name)} already exists, renaming the old one with ID ${from} to empty string`)
      }
    },
    ...(platform === undefined ? {} : { platform: parsePlatform(platform) }),
  }
  const engine = await openEngineWithImages(roots, warn)
  const trust = ImageTrust.open(engine)
  const checkTrust: LoadCheck = (form, names, digest) => trust.checkFile(form, input ?? null, names, digest)
  // As docker's: who reads the names from a pipe wants nothing else.
  const isShown = process.stdout.isTTY && !parsed.flag('quiet')
  return await interruptible(async signal => {
    using show = isShown ? new TransferShow(process.stdout, 'pull') : null
    const how = { ...options, checkTrust, signal, ...(show !== null && { onProgress: show.onProgress }) }
    const load = async (): Promise<readonly LoadedImage[]> => {
      if (isDirectory) return await loadLayout(input, engine.images, how)
      const archive = piecesUntil(signal, input === undefined ? process.stdin : opened(input))
      return await loadImages(archive, engine.images, how)
    }
    const loaded = await withSpace(engine, load)
    show?.[Symbol.dispose]()
    for (const line of loaded.flatMap(linesOf)) console.log(line)
  })
}

/** The pieces of a stream; waiting for one ends with the signal too. */
async function* piecesUntil(signal: AbortSignal, stream: Readable): AsyncGenerator<Uint8Array> {
  addAbortSignal(signal, stream)
  try {
    for await (const piece of stream) yield piece
  } catch (error) {
    signal.throwIfAborted()
    throw new BerthError('unavailable', `Cannot read the archive: ${messageOf(error)}`, { cause: error })
  }
}

function isDirectoryAt(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) throw new BerthError('notFound', `Cannot load "${path}": it does not exist`)
  return stat.isDirectory()
}

function opened(path: string): Readable {
  return createReadStream(path, { highWaterMark: READ_BYTES })
}

function linesOf({ image, names }: LoadedImage): readonly string[] {
  if (names.length === 0) return [`Loaded image ID: ${imageId(image)}`]
  return names.map(name => `Loaded image: ${shown(name)}`)
}

function shown(name: string): string {
  return familiarReference(parseReference(name))
}

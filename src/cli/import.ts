import { createReadStream } from 'node:fs'
import { arch } from 'node:os'
import type { GivenRoots } from '../engine/data-root.ts'
import { importImage } from '../engine/import-image.ts'
import { withSpace } from '../engine/keep-space.ts'
import { openEngine } from '../engine/open-engine.ts'
import { imageId } from '../image/image-record.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { linuxPlatform, parsePlatform } from '../oci/platform.ts'
import { warnOnStderr } from './failure.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'
import { sourceDateEpoch } from './source-date-epoch.ts'

const grammar: Grammar = {
  name: 'import',
  operands: 'FILE|URL|- [REFERENCE]',
  help: 'Makes an image of a tar archive of a root filesystem, compressed (gzip, zstd) or not. With SOURCE_DATE_EPOCH in the environment the image is from that moment.',
  options: [
    {
      name: 'change',
      short: 'c',
      kind: 'values',
      value: 'INSTRUCTION',
      help: 'change its config: CMD, ENV, USER … of a Dockerfile',
    },
    { name: 'message', short: 'm', kind: 'value', value: 'TEXT', help: 'what it is' },
    { name: 'platform', kind: 'value', value: 'OS/ARCH', help: 'what it is for (default: this machine)' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** A server that says nothing for so long says nothing any more. */
const FETCH_SILENCE_MS = 60_000

/** `berth import`: prints the id of the image. */
export async function importCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  const [source, reference = null, ...more] = parsed.operands
  if (source === undefined || more.length > 0)
    throw new UsageError(grammar, 'Cannot import: expected a file, a URL or "-", and at most one name')
  const platform = parsed.value('platform')
  const options = {
    reference,
    changes: parsed.values('change'),
    message: parsed.value('message') ?? '',
    platform: platform === undefined ? linuxPlatform(arch()) : parsePlatform(platform),
    epochSeconds: sourceDateEpoch(),
    source,
  }
  const engine = openEngine(roots, warnOnStderr)
  console.log(imageId(await withSpace(engine, () => importImage(openSource(source), options, engine))))
  return 0
}

function openSource(source: string): AsyncIterable<Uint8Array> {
  if (source === '-') return process.stdin
  if (/^https:\/\//i.test(source)) return fetched(source)
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(source))
    throw new BerthError(
      'invalidArgument',
      `Cannot import "${source}": what it names can't be trusted on its way, expected https`,
    )
  return fileOf(source)
}

async function* fileOf(path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path, { highWaterMark: 1024 * 1024 })
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new BerthError(
      code === 'ENOENT' ? 'notFound' : 'invalidArgument',
      `Cannot read "${path}": ${messageOf(cause)}`,
      { cause },
    )
  }
}

/** The archive's own limits bound its size. A redirect may not leave https either. */
async function* fetched(url: string): AsyncGenerator<Uint8Array> {
  const silence = new AbortController()
  let timer = setTimeout(() => silence.abort(), FETCH_SILENCE_MS)
  try {
    const response = await fetch(url, { signal: silence.signal })
    if (!response.url.startsWith('https://')) throw new Error('it was redirected away from https')
    if (!response.ok || response.body === null) throw new Error(`the server says ${response.status}`)
    for await (const piece of response.body) {
      clearTimeout(timer)
      yield piece
      timer = setTimeout(() => silence.abort(), FETCH_SILENCE_MS)
    }
  } catch (cause) {
    const why = silence.signal.aborted ? `it has been silent for ${FETCH_SILENCE_MS / 1000} s` : messageOf(cause)
    throw new BerthError('unavailable', `Cannot fetch "${url}": ${why}`, { cause })
  } finally {
    clearTimeout(timer)
  }
}

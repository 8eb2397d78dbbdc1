import { Readable } from 'node:stream'
import { BerthError, messageOf } from '../../lib/error.ts'
import { runBounded } from '../../lib/run-bounded.ts'
import { decompress } from '../../snapshot/decompress.ts'
import { DEFAULT_UNPACK_LIMITS } from '../../snapshot/unpack-limits.ts'
import type { ArchiveClient } from './archive-client.ts'
import type { Distribution, Suite } from './distribution.ts'
import { PackageIndex } from './package-index.ts'
import { parseRelease, type Release } from './release-file.ts'
import { verifySignedText } from './verify-release.ts'

/** An archive's mirror wants its clients to be modest. */
export const CONNECTIONS = 8
/** Debian's index of all of main has 50 MB; one that is ten times larger is none. */
const INDEX_LIMIT_BYTES = 512 * 1024 * 1024

/** A distribution's archive, its signatures verified. */
export interface OpenArchive {
  readonly packages: PackageIndex
  /** Of the newest of its suites: what the image counts as made at. */
  readonly dateMs: number
}

/** What to open of a distribution. */
export interface OpenArchiveOptions {
  readonly architecture: string
  /** Of a snapshot it does not count whether a release is still valid. */
  readonly isSnapshot: boolean
  readonly nowMs: number
}

/**
 * Fetches and verifies the release and package lists of all suites.
 * @throws {BerthError} forbidden: a signature is missing, wrong or too old; notFound: no such suite or architecture; see {@link ArchiveClient}
 */
export async function openArchive(
  client: ArchiveClient,
  distribution: Distribution,
  options: OpenArchiveOptions,
  signal?: AbortSignal,
): Promise<OpenArchive> {
  const { suites, components } = distribution
  const releases: { readonly suite: Suite; readonly release: Release }[] = []
  await runBounded(
    suites.entries(),
    CONNECTIONS,
    async ([index, suite], each) => {
      releases[index] = { suite, release: await openRelease(client, distribution, suite, options, each) }
    },
    signal,
  )
  const wanted = releases.flatMap(release => components.map(component => ({ ...release, component })))
  const lists: PackageList[] = []
  await runBounded(
    wanted.entries(),
    CONNECTIONS,
    async ([index, { suite, release, component }], each) => {
      lists[index] = await packageList(client, suite, release, `${component}/binary-${options.architecture}`, each)
    },
    signal,
  )
  const packages = new PackageIndex()
  // In order: of the same version in two archives the first one's counts.
  for (const { archive, text } of lists) packages.add(archive, text)
  return { packages, dateMs: Math.max(...releases.map(({ release }) => release.dateMs)) }
}

async function openRelease(
  client: ArchiveClient,
  { keyring }: Distribution,
  suite: Suite,
  { architecture, isSnapshot, nowMs }: OpenArchiveOptions,
  signal: AbortSignal,
): Promise<Release> {
  const url = `${suite.archive}/dists/${suite.name}/InRelease`
  const release = parseRelease(await verifySignedText(await client.release(url, signal), keyring, url), url)
  // A mirror could serve the signed release of another suite.
  if (![release.codename, release.suite].includes(suite.name))
    throw new BerthError('forbidden', `Cannot use ${url}: it is the release of ${release.suite} (${release.codename})`)
  if (!isSnapshot && release.validUntilMs !== null && release.validUntilMs < nowMs) {
    const until = new Date(release.validUntilMs).toISOString()
    throw new BerthError('forbidden', `Cannot use ${url}: it was valid until ${until}; for old archives use --snapshot`)
  }
  if (!release.architectures.includes(architecture))
    throw new BerthError(
      'notFound',
      `Cannot bootstrap for ${architecture}: ${url} has ${release.architectures.join(', ')}`,
    )
  return release
}

/** What is in one component of a suite. */
interface PackageList {
  readonly archive: string
  readonly text: string
}

async function packageList(
  client: ArchiveClient,
  { archive, name }: Suite,
  release: Release,
  directory: string,
  signal: AbortSignal,
): Promise<PackageList> {
  // The security archive lists its components with a prefix, and serves them without.
  // gzip is much quicker to read than xz; not every archive has it.
  const names = ['gz', 'xz'].flatMap(form => ['', 'updates/'].map(prefix => `${prefix}${directory}/Packages.${form}`))
  const path = names.find(each => release.files.has(each))
  const file = path === undefined ? undefined : release.files.get(path)
  if (path === undefined || file === undefined)
    throw new BerthError('notFound', `Cannot bootstrap: ${archive} has no packages of ${directory}`)
  const base = `${archive}/dists/${name}`
  const byHash = `${base}/${directory}/by-hash/SHA256/${file.digest.slice('sha256:'.length)}`
  const url = release.hasByHash ? byHash : `${base}/${path}`
  const compressed: Uint8Array[] = []
  const sink = {
    begin: () => {
      compressed.length = 0
    },
    piece: (bytes: Uint8Array) => {
      compressed.push(bytes)
    },
  }
  await client.file(url, file, sink, signal)
  return { archive, text: await textOf(compressed, url) }
}

async function textOf(compressed: readonly Uint8Array[], url: string): Promise<string> {
  const pieces: Uint8Array[] = []
  const limits = { ...DEFAULT_UNPACK_LIMITS, bytes: INDEX_LIMIT_BYTES }
  try {
    for await (const piece of decompress(Readable.from(compressed), limits)) pieces.push(piece)
  } catch (cause) {
    throw new BerthError('invalidArgument', `Cannot use ${url}: ${messageOf(cause)}`, { cause })
  }
  return Buffer.concat(pieces).toString('utf8')
}

import { mkdir, open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ArchiveClient } from '../image/bootstrap/archive-client.ts'
import { type ArchiveOptions, type Distribution, findDistribution } from '../image/bootstrap/distribution.ts'
import { CONNECTIONS, openArchive } from '../image/bootstrap/open-archive.ts'
import type { DebPackage } from '../image/bootstrap/package-index.ts'
import { orderByPreDepends, resolvePackages } from '../image/bootstrap/resolve-packages.ts'
import { unpackPackages } from '../image/bootstrap/unpack-packages.ts'
import type { ImageRecord } from '../image/image-record.ts'
import { BerthError } from '../lib/error.ts'
import { runBounded } from '../lib/run-bounded.ts'
import { makingName, removeLeftovers, removeTree } from '../snapshot/leftovers.ts'
import { DEFAULT_UNPACK_LIMITS } from '../snapshot/unpack-limits.ts'
import { BOOTSTRAP_SCRIPT } from './bootstrap-script.ts'
import { commitContainer } from './commit-container.ts'
import { type ContainerOptions, PLAIN_CONTAINER } from './container-options.ts'
import type { Engine } from './open-engine.ts'
import { attachContainer, makeContainer, putAway, startEngineContainer } from './run-container.ts'

/** What to make an image of. */
export interface BootstrapRequest extends Pick<ArchiveOptions, 'mirror' | 'snapshot'> {
  /** `debian`, `ubuntu`. */
  readonly distribution: string
  /** A suite, or what stands for one: `bookworm`, `12`. */
  readonly suite: string
  /** What the image is to be called. */
  readonly reference: string
  /** Packages beyond what every system has. */
  readonly include: readonly string[]
  /** `essential`: without apt. */
  readonly variant: 'minbase' | 'essential'
  /** OpenPGP keys, binary or armored, instead of the distribution's; null: those. */
  readonly keyring: Uint8Array | null
}

/** How to go about it. */
export interface BootstrapOptions {
  /** Told what is going on. */
  readonly onProgress: (message: string) => void
  readonly signal?: AbortSignal
}

/** Of what the packages' scripts say as much is shown when they fail. */
const SHOWN_OUTPUT_BYTES = 4000
const SCRIPT = 'configure.sh'
const SOURCES = 'distribution.sources'
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Debian's names of this machine's architecture, by Node's. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }

/**
 * Makes an image of a distribution's package archive, without any registry. What is fetched is verified down from the archive's signature;
 * the packages are configured by their own scripts, in a container without a network. The same archive gives the same image, digest and all.
 * @throws {BerthError} notFound: no such distribution, suite or package; forbidden: a signature does not verify, or is too old; unavailable: the
 * archive can't be reached, or packages can't be configured; invalidArgument: a file of it is damaged; cancelled. Nothing is left then.
 */
export async function bootstrapImage(
  request: BootstrapRequest,
  engine: Engine,
  { onProgress, signal }: BootstrapOptions,
): Promise<ImageRecord> {
  const architecture = ARCHITECTURES[process.arch] ?? process.arch
  const found = findDistribution(request.distribution, request.suite, { ...request, architecture })
  const distribution = request.keyring === null ? found : { ...found, keyring: request.keyring }
  const client = new ArchiveClient()
  onProgress(`Reading the archive of ${distribution.name} ${distribution.codename}`)
  const isSnapshot = request.snapshot !== null
  const archive = await openArchive(client, distribution, { architecture, isSnapshot, nowMs: Date.now() }, signal)
  const packages = choosePackages(archive.packages, request)
  await using scratch = await openScratch(engine.roots.data)
  onProgress(`Fetching ${packages.length} packages`)
  await fetchPackages(client, packages, scratch.packages, signal)
  await writeFile(join(scratch.packages, SCRIPT), BOOTSTRAP_SCRIPT)
  await writeFile(join(scratch.packages, SOURCES), sourcesFile(distribution, isSnapshot))
  onProgress('Unpacking')
  const files = orderByPreDepends(packages).map(({ name }) => ({
    name,
    content: () => Bun.file(join(scratch.packages, `${name}.deb`)).stream(),
  }))
  await unpackPackages(scratch.root, files, DEFAULT_UNPACK_LIMITS, signal)
  return await configure(scratch, request, Math.floor(archive.dateMs / 1000), engine, {
    onProgress,
    ...(signal && { signal }),
  })
}

function choosePackages(
  index: Parameters<typeof resolvePackages>[0],
  request: BootstrapRequest,
): readonly DebPackage[] {
  // It stands for the merged /usr that unpackPackages makes; the alternative to it converts a system that has none.
  const merged = index.find('usr-is-merged') === null ? [] : ['usr-is-merged']
  const apt = request.variant === 'minbase' ? ['apt'] : []
  return resolvePackages(index, [...merged, ...apt, ...request.include])
}

interface Scratch extends AsyncDisposable {
  /** Of the packages' files. */
  readonly packages: string
  /** Of what is unpacked. */
  readonly root: string
}

async function openScratch(dataRoot: string): Promise<Scratch> {
  const directory = join(dataRoot, 'bootstrap')
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await removeLeftovers(directory)
  const name = makingName()
  const [packages, root] = [join(directory, name, 'packages'), join(directory, name, 'root')]
  await mkdir(packages, { recursive: true, mode: 0o755 })
  await mkdir(root, { mode: 0o755 })
  return { packages, root, [Symbol.asyncDispose]: () => removeTree(directory, name) }
}

async function fetchPackages(
  client: ArchiveClient,
  packages: readonly DebPackage[],
  directory: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const fetchOne = async ({ name, archive, filename, ...expected }: DebPackage, each: AbortSignal): Promise<void> => {
    // For appending: an attempt that failed is cut off, and the next one begins where the file ends.
    await using file = await open(join(directory, `${name}.deb`), 'ax')
    const sink = { begin: () => file.truncate(0), piece: (bytes: Uint8Array) => file.appendFile(bytes) }
    await client.file(`${archive}/${filename}`, expected, sink, each)
  }
  await runBounded(packages, CONNECTIONS, fetchOne, signal)
}

/** Where apt is to look, in the form of sources.list(5) › deb822-style format. */
function sourcesFile({ name, suites, components }: Distribution, isSnapshot: boolean): string {
  const byArchive = Map.groupBy(suites, suite => suite.archive)
  const stanzas = [...byArchive].map(([archive, of]) =>
    [
      'Types: deb',
      `URIs: ${archive}`,
      `Suites: ${of.map(suite => suite.name).join(' ')}`,
      `Components: ${components.join(' ')}`,
      `Signed-By: /usr/share/keyrings/${name}-archive-keyring.gpg`,
      ...(isSnapshot ? ['Check-Valid-Until: no'] : []),
    ].join('\n'),
  )
  return `${stanzas.join('\n\n')}\n`
}

async function configure(
  scratch: Scratch,
  { distribution, reference }: BootstrapRequest,
  createdSeconds: number,
  engine: Engine,
  { onProgress, signal }: BootstrapOptions,
): Promise<ImageRecord> {
  onProgress('Configuring')
  const container = await makeContainer(containerOptions(scratch, distribution, createdSeconds), engine)
  let exitCode = 1
  try {
    exitCode = await runToItsEnd(container, engine, signal)
    onProgress('Writing the layer')
    const changes = ['CMD ["bash"]', `ENV PATH=${PATH}`]
    const message = `packages of ${distribution}`
    return await commitContainer(
      container.id,
      {
        reference,
        changes,
        message,
        author: '',
        epochSeconds: createdSeconds,
        pause: false,
        compression: 'gzip',
        ...(signal && { signal }),
      },
      engine,
    )
  } finally {
    await putAway(container, exitCode, engine)
  }
}

/** @throws {BerthError} unavailable: the packages can't be configured, with the end of what they said */
async function runToItsEnd(
  container: Awaited<ReturnType<typeof makeContainer>>,
  engine: Engine,
  signal: AbortSignal | undefined,
): Promise<number> {
  let said = Buffer.alloc(0)
  const listen = (bytes: Uint8Array): void => {
    said = Buffer.concat([said, bytes]).subarray(-SHOWN_OUTPUT_BYTES)
  }
  using shim = await attachContainer(container, { onStdout: listen, onStderr: listen })
  const kill = (): void => void shim.signal(9).catch(() => undefined)
  signal?.addEventListener('abort', kill)
  try {
    await startEngineContainer(container, engine)
    if (signal?.aborted === true) kill()
    const { code } = await shim.exited
    if (signal?.aborted === true) throw new BerthError('cancelled', 'Cannot bootstrap: cancelled')
    if (code === 0) return code
    throw new BerthError(
      'unavailable',
      `Cannot configure the packages: they ended with status ${code}:\n${said.toString('utf8').trim()}`,
    )
  } finally {
    signal?.removeEventListener('abort', kill)
  }
}

/** Its own ids, no network, the default limits: what packages do to become configured is their business, not the machine's. */
function containerOptions({ root, packages }: Scratch, distribution: string, createdSeconds: number): ContainerOptions {
  return {
    ...PLAIN_CONTAINER,
    image: { kind: 'rootfs', path: root },
    command: ['/bin/sh', `/mnt/${SCRIPT}`, distribution, String(createdSeconds)],
    hostname: 'localhost',
    autoRemove: true,
    binds: [{ source: packages, target: '/mnt', options: ['ro'] }],
  }
}

import { arch } from 'node:os'
import { type BaseImage, composeImage, emptyBase, hostBase, readBaseImage } from '../image/compose-image.ts'
import { applyChange, type ConfigDocument, mergeEnv } from '../image/config-changes.ts'
import { hostConfig } from '../image/host-image.ts'
import type { ImageRecord } from '../image/image-record.ts'
import { type ImageStore, openImageStore } from '../image/image-store.ts'
import type { Lease } from '../image/lease.ts'
import { BerthError } from '../lib/error.ts'
import { parseDigest } from '../oci/digest.ts'
import { OCI_LAYER } from '../oci/media-types.ts'
import { linuxPlatform } from '../oci/platform.ts'
import { parseReference, printReference, withDefaultTag } from '../oci/reference.ts'
import { pauseContainer, resumeContainer } from '../runtime/kill.ts'
import { type Compression, type WrittenLayer, writeLayer, writeTree } from '../snapshot/write-layer.ts'
import { type ContainerTree, findContainerTree } from './container-tree.ts'
import type { Engine } from './open-engine.ts'
import type { RootConfig } from './root-record.ts'

/** How an image is made from what a user has. */
export interface MakeImageOptions {
  /** What it is to be called; null: nothing. */
  readonly reference: string | null
  /** Instructions of a Dockerfile. */
  readonly changes: readonly string[]
  readonly message: string
  /** SOURCE_DATE_EPOCH: the image is from that moment, and nothing in it is younger. Null: from now. */
  readonly epochSeconds: number | null
  readonly signal?: AbortSignal
}

/** How to make an image of a container. */
export interface CommitOptions extends MakeImageOptions {
  readonly author: string
  /** Stop its processes while it is read. */
  readonly pause: boolean
  readonly compression: Compression
}

/** The layer's media type by how it is compressed. */
export const LAYER_TYPES: Readonly<Record<Compression, string>> = {
  none: OCI_LAYER,
  gzip: `${OCI_LAYER}+gzip`,
  zstd: `${OCI_LAYER}+zstd`,
}

/**
 * Makes an image of a container: of its image and what it has changed. A container of something that is not in the store (a directory)
 * becomes an image of one layer with all that it sees, so that the image means the same wherever it is run. One of the machine itself becomes
 * an image of one layer with all that differs from the machine, which this machine runs on top of itself: see decision 0010.
 * @throws {BerthError} as {@link findContainerTree}; invalidArgument: a change, a reference, or a file that no layer can hold
 */
export async function commitContainer(text: string, options: CommitOptions, engine: Engine): Promise<ImageRecord> {
  const names = namesOf(options.reference)
  const tree = await findContainerTree(text, engine)
  const store = await openImageStore(engine.roots.data, engine.database.sqlite)
  using lease = store.records.lease(`commit ${tree.container.id}`)
  const base = await baseOf(tree, store, lease)
  const config = options.changes.reduce(applyChange, containerConfig(base?.config ?? {}, tree.config))
  await using ingestion = await store.content.ingest(null, options.signal)
  const written = await paused(tree, options, engine, () =>
    write(tree, base, options, engine, bytes => ingestion.write(bytes)),
  )
  const blob = await ingestion.commit({ beforeVisible: digest => lease.hold('blob', [digest]) })
  const description = {
    config,
    created: createdOf(options),
    author: options.author,
    comment: options.message,
    createdBy: tree.container.command.join(' '),
  }
  const layer = { diffId: written.diffId, descriptor: { ...blob, mediaType: LAYER_TYPES[options.compression] } }
  return await composeImage(base ?? emptyBase(linuxPlatform(arch())), layer, description, names, store, lease)
}

/** The canonical names of a reference that users wrote. @throws {BerthError} invalidArgument */
export function namesOf(reference: string | null): readonly string[] {
  if (reference === null) return []
  const parsed = parseReference(reference)
  if (parsed.digest !== null)
    throw new BerthError(
      'invalidArgument',
      `Cannot name an image "${reference}": it has a digest, expected a name and a tag`,
    )
  return [printReference(withDefaultTag(parsed))]
}

/** The moment that an image is from. */
export function createdOf({ epochSeconds }: Pick<MakeImageOptions, 'epochSeconds'>): string {
  return new Date(epochSeconds === null ? Date.now() : epochSeconds * 1000).toISOString().replace(/\.\d+Z$/, 'Z')
}

/** What the container is made of, which stays from now on, even if the container goes. Null: of a directory. */
async function baseOf(tree: ContainerTree, store: ImageStore, lease: Lease): Promise<BaseImage | null> {
  const stored = await storedBaseOf(tree, store, lease)
  if (!tree.isHost) return stored
  const { cmd } = hostConfig()
  return hostBase(linuxPlatform(arch()), stored ?? { config: { Cmd: cmd }, history: [] })
}

async function storedBaseOf({ container }: ContainerTree, store: ImageStore, lease: Lease): Promise<BaseImage | null> {
  const { manifestDigest } = container
  if (manifestDigest === null) return null
  const digest = parseDigest(manifestDigest)
  lease.hold('blob', [digest])
  const sizeBytes = await store.content.find(digest)
  if (sizeBytes === null)
    throw new BerthError(
      'notFound',
      `Cannot commit container "${container.name}": manifest ${digest} of its image is gone`,
    )
  const base = await readBaseImage({ digest, sizeBytes }, store.content)
  lease.hold(
    'blob',
    base.layers.map(each => each.digest),
  )
  return base
}

/** What the container runs with, for containers of the new image. */
function containerConfig(base: ConfigDocument, own: RootConfig): ConfigDocument {
  const env = Array.isArray(base['Env']) ? base['Env'].map(String) : []
  const labels = { ...(base['Labels'] as Readonly<Record<string, string>> | undefined), ...own.labels }
  const set = own.env.filter(each => each.includes('='))
  const pairs = set.map(each => [each.slice(0, each.indexOf('=')), each.slice(each.indexOf('=') + 1)] as const)
  return {
    ...base,
    ...(own.entrypoint !== undefined && { Entrypoint: own.entrypoint, Cmd: [] }),
    ...(own.command.length > 0 && { Cmd: own.command }),
    ...(pairs.length > 0 && { Env: mergeEnv(env, pairs) }),
    ...(own.user !== undefined && { User: own.user }),
    ...(own.workdir !== undefined && { WorkingDir: own.workdir }),
    ...(Object.keys(labels).length > 0 && { Labels: labels }),
  }
}

async function write(
  { changes, root, rootIds, hasFuseMarks }: ContainerTree,
  base: BaseImage | null,
  { epochSeconds, compression, signal }: CommitOptions,
  { warn }: Engine,
  sink: (bytes: Uint8Array) => Promise<void>,
): Promise<WrittenLayer> {
  const options = { latestSeconds: epochSeconds, compression, warn, ...(signal && { signal }) }
  if (base === null) return await writeTree(root, rootIds, { ...options, hasFuseMarks }, sink)
  await using layers = await changes()
  return await writeLayer(layers, options, sink)
}

async function paused<T>(
  { container }: ContainerTree,
  { pause }: CommitOptions,
  { roots, warn }: Engine,
  read: () => Promise<T>,
): Promise<T> {
  if (!pause || container.status !== 'running') return await read()
  const options = { root: roots.run, systemdCgroup: false, warn }
  await pauseContainer(container.id, options)
  try {
    return await read()
  } finally {
    await resumeContainer(container.id, options)
  }
}

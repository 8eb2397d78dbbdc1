import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ContentUsage, type ImageUsage } from '../image/content-usage.ts'
import type { ImageRecord } from '../image/image-record.ts'
import { diskBytes } from '../lib/disk-bytes.ts'
import type { Digest } from '../oci/digest.ts'
import { treeUsage } from '../snapshot/tree-usage.ts'
import { findLeftovers } from './find-leftovers.ts'
import { type ListedContainer, listContainers } from './list-containers.ts'
import { measureTree } from './measure-tree.ts'
import { containerDirectory } from './open-engine.ts'
import type { EngineWithImages } from './open-images.ts'

/** One kind of thing that takes space. All bytes are what the disk gives for it, as `du` counts. */
export interface SpaceTotal {
  readonly totalCount: number
  /** In use: of images those that a container was made of, of containers those that run. */
  readonly activeCount: number
  readonly diskBytes: number
  /** What the removal of all that is not in use gives back. */
  readonly reclaimableBytes: number
}

/** An image and what it takes. */
export interface ImageSpace extends ImageUsage {
  readonly image: ImageRecord
  readonly containerCount: number
}

/** A container and what it takes. */
export interface ContainerSpace {
  readonly container: ListedContainer
  /** Its root filesystem's own files, and those that the engine keeps of it. */
  readonly diskBytes: number
  readonly logBytes: number
  /** What its removal gives back of both: on filesystems with reflinks less than they take. */
  readonly freedBytes: number
}

/** What the data root takes of the disk: the totals add up to it. */
export interface DiskUsage {
  readonly images: SpaceTotal & { readonly each: readonly ImageSpace[] }
  readonly containers: SpaceTotal & { readonly each: readonly ContainerSpace[] }
  readonly logs: SpaceTotal
  /** What crashes have left, and content that nothing needs; a transfer that is under way is not among it. */
  readonly orphans: SpaceTotal
  /** The engine's own records. */
  readonly metadata: SpaceTotal
}

/** Adds up what is below the data root. What comes or goes meanwhile may be counted or not. */
export async function diskUsage(engine: EngineWithImages): Promise<DiskUsage> {
  const usage = await ContentUsage.of(engine.images)
  const containers = await containersSpace(engine)
  const images = await imagesSpace(engine, usage)
  return {
    images,
    containers: totalOf(containers, ({ diskBytes: own }) => own),
    logs: withoutEach(totalOf(containers, ({ logBytes }) => logBytes)),
    orphans: await orphansSpace(engine, usage),
    metadata: { totalCount: 0, activeCount: 0, diskBytes: await metadataBytes(engine.roots.data), reclaimableBytes: 0 },
  }
}

async function imagesSpace(
  { images, roots, warn }: EngineWithImages,
  usage: ContentUsage,
): Promise<DiskUsage['images']> {
  const { records } = images
  const each = records.list().map(image => ({
    image,
    containerCount: records.containersOf(image.digest).length,
    ...usage.ofImage(image.digest),
  }))
  const free = each.filter(({ image, containerCount }) => containerCount === 0 && !image.pinned)
  // btrfs: each image once more, merged; its files share their content with the layers.
  const { uniqueBytes, sharedBytes } = await measureTree(join(roots.data, 'snapshots'), warn)
  return {
    each,
    totalCount: each.length,
    activeCount: each.filter(({ containerCount }) => containerCount > 0).length,
    diskBytes: usage.neededBytes() + uniqueBytes + sharedBytes,
    reclaimableBytes: usage.freedBy(new Set<Digest>(free.map(({ image }) => image.digest))),
  }
}

async function containersSpace(engine: EngineWithImages): Promise<readonly ContainerSpace[]> {
  const found: ContainerSpace[] = []
  for (const container of listContainers(engine)) {
    const directory = containerDirectory(engine.roots, container.id)
    const all = await measureTree(directory, engine.warn)
    const { uniqueBytes: logBytes } = await treeUsage(join(directory, 'log'), { extents: false })
    const own = await lstat(directory).catch(nullIfGone)
    const takenBytes = all.uniqueBytes + all.sharedBytes + (own === null ? 0 : diskBytes(own))
    found.push({ container, diskBytes: Math.max(0, takenBytes - logBytes), logBytes, freedBytes: all.uniqueBytes })
  }
  return found
}

function totalOf(each: readonly ContainerSpace[], bytesOf: (space: ContainerSpace) => number): DiskUsage['containers'] {
  const sum = (of: readonly ContainerSpace[]): number => of.reduce((total, space) => total + bytesOf(space), 0)
  const ended = each.filter(({ container }) => container.status === 'stopped')
  const reclaimable = ended.reduce((total, space) => total + Math.min(bytesOf(space), space.freedBytes), 0)
  return {
    each,
    totalCount: each.length,
    activeCount: each.length - ended.length,
    diskBytes: sum(each),
    reclaimableBytes: reclaimable,
  }
}

function withoutEach({ totalCount, activeCount, diskBytes: bytes, reclaimableBytes }: SpaceTotal): SpaceTotal {
  return { totalCount, activeCount, diskBytes: bytes, reclaimableBytes }
}

async function orphansSpace(engine: EngineWithImages, usage: ContentUsage): Promise<SpaceTotal> {
  const found = [
    ...usage.orphans(),
    ...(await engine.images.content.leftovers(0)),
    ...(await findLeftovers(engine)),
  ].map(each => each.diskBytes)
  const bytes = found.reduce((total, each) => total + each, 0)
  return { totalCount: found.length, activeCount: 0, diskBytes: bytes, reclaimableBytes: bytes }
}

/** What is in the data root beside the content of images, containers and scratch directories; directories that hold those themselves included. */
async function metadataBytes(dataRoot: string): Promise<number> {
  const counted = ['', ...(await entries(dataRoot))]
  const below = ['content', 'content/blobs', 'layers']
  for (const directory of below)
    for (const name of await entries(join(dataRoot, directory))) counted.push(join(directory, name))
  const alone = counted.filter(path => !path.split('/').some(name => name.startsWith('.making-')))
  const stats = await Promise.all(alone.map(path => lstat(join(dataRoot, path)).catch(nullIfGone)))
  // The directory of chain snapshots is counted with the images.
  return stats.reduce((sum, stat, at) => sum + (stat === null || alone[at] === 'snapshots' ? 0 : diskBytes(stat)), 0)
}

async function entries(path: string): Promise<readonly string[]> {
  return (await readdir(path).catch(nullIfGone)) ?? []
}

function nullIfGone(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null
  throw error
}

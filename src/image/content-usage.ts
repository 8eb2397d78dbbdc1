import type { Digest } from '../oci/digest.ts'
import type { ContentNeed } from './image-records.ts'
import type { ImageStore } from './image-store.ts'
import type { ContentKind } from './lease.ts'

/** A blob or an unpacked layer that is on the disk. */
export interface StoredItem {
  readonly kind: ContentKind
  readonly digest: Digest
  /** What it takes of the disk, as `du` counts. */
  readonly diskBytes: number
  /** When it came, in milliseconds since 1970. */
  readonly sinceMs: number
}

/** What an image takes of the disk. */
export interface ImageUsage {
  /** Also needed by other images. */
  readonly sharedBytes: number
  /** Needed by no other image. */
  readonly uniqueBytes: number
}

interface Item extends StoredItem {
  readonly images: ReadonlySet<string>
  readonly containers: ReadonlySet<string>
  readonly isLeased: boolean
}

/** What the content of a store takes of the disk, and for whose sake it is there, as of one moment. */
export class ContentUsage {
  readonly #items: readonly Item[]
  /** Numbers of items, by image. */
  readonly #ofImage: ReadonlyMap<string, readonly number[]>

  /** `needs` have to be from after `stored` was listed: what came in between is not called an orphan then. */
  constructor(stored: readonly StoredItem[], needs: readonly ContentNeed[]) {
    const byContent = Map.groupBy(needs, contentKey)
    this.#items = stored.map((item): Item => {
      const users = Map.groupBy(byContent.get(contentKey(item)) ?? [], ({ by }) => by)
      const ids = (by: ContentNeed['by']): ReadonlySet<string> => new Set(users.get(by)?.map(({ id }) => id))
      return { ...item, images: ids('image'), containers: ids('container'), isLeased: users.has('lease') }
    })
    const pairs = this.#items.flatMap(({ images }, index) => [...images].map(image => [image, index] as const))
    const groups = Map.groupBy(pairs, ([image]) => image)
    this.#ofImage = new Map([...groups].map(([image, of]) => [image, of.map(([, index]) => index)]))
  }

  /** What there is and who needs it. */
  static async of(store: Pick<ImageStore, 'content' | 'layers' | 'records'>): Promise<ContentUsage> {
    const stored: StoredItem[] = []
    for await (const { digest, diskBytes, sinceMs } of store.content.list())
      stored.push({ kind: 'blob', digest, diskBytes, sinceMs })
    for await (const { diffId, diskBytes, sinceMs } of store.layers.stored())
      stored.push({ kind: 'layer', digest: diffId, diskBytes, sinceMs })
    return new ContentUsage(stored, store.records.needs())
  }

  /** Needed by nobody. */
  orphans(): readonly StoredItem[] {
    return this.#items.filter(item => isOrphan(item))
  }

  /** All that somebody needs. */
  neededBytes(): number {
    return sum(this.#items.filter(item => !isOrphan(item)))
  }

  /** By the digest of an image's target. */
  ofImage(image: Digest): ImageUsage {
    const items = this.#itemsOf(image)
    const [unique, shared] = [true, false].map(only => sum(items.filter(item => (item.images.size === 1) === only)))
    return { sharedBytes: shared ?? 0, uniqueBytes: unique ?? 0 }
  }

  /** What the removal of images, and of containers, would give back: not what others, and leases, need. */
  freedBy(images: ReadonlySet<Digest>, containers: ReadonlySet<string> = new Set()): number {
    const indexes = new Set([...images].flatMap(image => this.#ofImage.get(image) ?? []))
    return sum(
      [...indexes].flatMap(index => this.#items[index] ?? []).filter(item => isFreed(item, images, containers)),
    )
  }

  #itemsOf(image: Digest): readonly Item[] {
    return (this.#ofImage.get(image) ?? []).flatMap(index => this.#items[index] ?? [])
  }
}

function isOrphan({ images, containers, isLeased }: Item): boolean {
  return images.size === 0 && containers.size === 0 && !isLeased
}

function isFreed(
  { images, containers, isLeased }: Item,
  goneImages: ReadonlySet<string>,
  goneContainers: ReadonlySet<string>,
): boolean {
  return !isLeased && containers.isSubsetOf(goneContainers) && images.isSubsetOf(goneImages)
}

function sum(items: readonly StoredItem[]): number {
  return items.reduce((total, { diskBytes }) => total + diskBytes, 0)
}

function contentKey({ kind, digest }: { readonly kind: ContentKind; readonly digest: Digest }): string {
  return `${kind} ${digest}`
}

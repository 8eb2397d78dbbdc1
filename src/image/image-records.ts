import type { Database } from 'bun:sqlite'
import { closeSync, fsyncSync, openSync } from 'node:fs'
import { BerthError, invariant } from '../lib/error.ts'
import type { Digest } from '../oci/digest.ts'
import type { ImageLayer, ImageManifest, ImageRecord } from './image-record.ts'
import { type ContentKind, deadLeases, forgetDeadLeases, Lease } from './lease.ts'
import { writeDatabase } from './write-database.ts'

/** Content that an image needs. */
export interface ContentItem {
  readonly kind: ContentKind
  readonly digest: Digest
  /** Of a blob; 0 for a layer, whose store knows. */
  readonly sizeBytes: number
}

/** What is put down of an image; its times and names are added. */
export interface NewImage extends Pick<ImageRecord, 'digest' | 'mediaType' | 'sizeBytes' | 'manifests'> {
  /** All that must stay as long as the image does, the target included. */
  readonly content: readonly ContentItem[]
  /** It was made here, as a layer on top of the machine's own root filesystem. Where it was put down as one before, it stays one. */
  readonly isOnHost?: boolean
}

/** A name that belonged to another image. */
export interface MovedName {
  readonly name: string
  readonly from: Digest
}

/** That somebody needs some content. */
export interface ContentNeed {
  readonly kind: ContentKind
  readonly digest: Digest
  readonly by: 'image' | 'container' | 'lease'
  /** The image's target digest, the container's id, or the number of the lease. */
  readonly id: string
}

/** What is on disk: digests by kind. */
export type StoredContent = Readonly<Record<ContentKind, readonly Digest[]>>

type Row = readonly unknown[]

/**
 * Which images there are, what they are called, and which content has to stay for them. SQLite, so that several processes can
 * work at once; every method is one transaction.
 */
export class ImageRecords {
  readonly #database: Database

  /** `database` has the tables of IMAGE_SCHEMA. */
  constructor(database: Database) {
    this.#database = database
  }

  /** A lease on nothing yet, of this process. `purpose` is for people: `pull docker.io/library/debian:latest`. */
  lease(purpose: string): Lease {
    return new Lease(this.#database, purpose)
  }

  /**
   * Puts an image down, or what is new of it: platforms that were there stay. `names` are its from now on. A name
   * with a digest that is not the image's is refused, as it would be a lie.
   * @returns the names that were another image's
   */
  put(image: NewImage, names: readonly string[], nowMs: number): readonly MovedName[] {
    const lie = names.find(name => name.includes('@') && !name.endsWith(`@${image.digest}`))
    invariant(lie === undefined, `the name ${lie} is of another digest than ${image.digest}`)
    return this.#exclusively(() => {
      this.#run(
        `INSERT INTO image (digest, media_type, size_bytes, pulled_ms, used_ms) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (digest) DO UPDATE SET pulled_ms = excluded.pulled_ms`,
        [image.digest, image.mediaType, image.sizeBytes, nowMs, nowMs],
      )
      for (const each of image.manifests) {
        const layers = JSON.stringify(each.layers)
        this.#run('INSERT OR REPLACE INTO image_manifest VALUES (?, ?, ?, ?, ?, ?, ?)', [
          ...[image.digest, each.digest, each.platform, each.configDigest, each.createdMs],
          ...[layers, JSON.stringify(each.labels)],
        ])
      }
      for (const { kind, digest, sizeBytes } of image.content)
        this.#run('INSERT OR REPLACE INTO image_content VALUES (?, ?, ?, ?)', [image.digest, kind, digest, sizeBytes])
      if (image.isOnHost === true) this.#run('INSERT OR IGNORE INTO host_image VALUES (?)', [image.digest])
      return names.flatMap(name => this.#name(name, image.digest))
    })
  }

  /** All images, the newest first. */
  list(): readonly ImageRecord[] {
    return this.#load('1', [])
  }

  /** By the digest of the target. */
  get(digest: Digest): ImageRecord | null {
    return this.#load('image.digest = ?', [digest])[0] ?? null
  }

  /** By one of its canonical names. */
  named(name: string): ImageRecord | null {
    return this.#load('image.digest = (SELECT digest FROM image_name WHERE name = ?)', [name])[0] ?? null
  }

  /** Those of which the target, a manifest or a config has a digest that begins so; `prefix` is `sha256:` and hexadecimal digits. */
  beginning(prefix: string): readonly ImageRecord[] {
    // No digest has a byte above "g" after its colon, so that the range is all that begins so, and the indexes find it.
    const range = [prefix, `${prefix}g`]
    return this.#load(
      `image.digest >= ? AND image.digest < ? OR image.digest IN (
         SELECT image FROM image_manifest WHERE config_digest >= ? AND config_digest < ? OR digest >= ? AND digest < ?)`,
      [...range, ...range, ...range],
    )
  }

  /** Whether an image is a layer on top of the machine's own root filesystem. By its target: an index with it in it is not. */
  isOnHost(digest: Digest): boolean {
    return this.#rows('SELECT 1 FROM host_image WHERE image = ?', [digest]).length > 0
  }

  /** All names with the digest of their image, sorted by name. */
  names(): readonly { readonly name: string; readonly digest: Digest }[] {
    return this.#rows('SELECT name, digest FROM image_name ORDER BY name').map(([name, digest]) => ({
      name: String(name),
      digest: String(digest) as Digest,
    }))
  }

  /** The names of the images that a blob is a part of, sorted. */
  namesWith(digest: Digest): readonly string[] {
    return this.#rows(
      `SELECT name FROM image_name JOIN image_content ON image_content.image = image_name.digest
       WHERE kind = 'blob' AND image_content.digest = ? ORDER BY name`,
      [digest],
    ).map(([name]) => String(name))
  }

  /** The content that must stay for an image. */
  contentOf(digest: Digest): readonly ContentItem[] {
    return this.#rows('SELECT kind, digest, size_bytes FROM image_content WHERE image = ?', [digest]).map(contentItem)
  }

  /**
   * Gives an image one name more, which another image loses if it had it.
   * @throws {BerthError} notFound: the image is gone
   */
  tag(digest: Digest, name: string): readonly MovedName[] {
    return this.#exclusively(() => {
      this.#expect(digest)
      return this.#name(name, digest)
    })
  }

  /** Takes a name away; the image stays, without a name if it was the last. Null when nothing was called so, else whose it was. */
  untag(name: string): Digest | null {
    const [row] = this.#rows('DELETE FROM image_name WHERE name = ? RETURNING digest', [name])
    return row === undefined ? null : (String(row[0]) as Digest)
  }

  /** Forgets an image with its names; its content is garbage then, unless others need it. False when there was none. */
  remove(digest: Digest): boolean {
    return this.#exclusively(() => {
      for (const table of ['image_manifest', 'image_content'])
        this.#run(`DELETE FROM ${table} WHERE image = ?`, [digest])
      this.#run('DELETE FROM image_name WHERE digest = ?', [digest])
      return this.#rows('DELETE FROM image WHERE digest = ? RETURNING digest', [digest]).length > 0
    })
  }

  /**
   * {@link remove}, unless something needs the image at that very moment: a container, a pin or, if not `evenNamed`, a name.
   * False when it stays, or when there was none.
   */
  removeUnused(digest: Digest, evenNamed: boolean): boolean {
    return this.#exclusively(() => {
      const image = this.get(digest)
      if (image === null || image.pinned || (image.names.length > 0 && !evenNamed)) return false
      return this.containersOf(digest).length === 0 && this.remove(digest)
    })
  }

  /** Removes the leases of processes that are gone. */
  forgetDeadLeases(): void {
    this.#exclusively(() => forgetDeadLeases(this.#database))
  }

  /** Remembers that an image was used. */
  touch(digest: Digest, nowMs: number): void {
    this.#run('UPDATE image SET used_ms = max(used_ms, ?) WHERE digest = ?', [nowMs, digest])
  }

  /** @throws {BerthError} notFound: the image is gone */
  pin(digest: Digest, pinned: boolean): void {
    this.#exclusively(() => {
      this.#expect(digest)
      this.#run('UPDATE image SET pinned = ? WHERE digest = ?', [pinned ? 1 : 0, digest])
    })
  }

  /**
   * Keeps what a container of one of an image's platforms needs for as long as the container is there, and remembers the use. To be called in
   * the transaction that makes the container's row: until then nothing needs to hold the content, since the image does.
   * @throws {BerthError} conflict: the image was removed after it was looked up
   */
  keepFor(container: string, image: Digest, manifest: ImageManifest, nowMs: number): void {
    this.#exclusively(() => {
      const rows = this.#rows('SELECT 1 FROM image_manifest WHERE image = ? AND digest = ?', [image, manifest.digest])
      if (rows.length === 0) throw new BerthError('conflict', `Cannot use image "${image}": it was removed meanwhile`)
      const { digest, configDigest, layers } = manifest
      this.#keep(container, 'blob', [digest, configDigest, ...layers.map(layer => layer.digest)])
      this.keepLayersFor(
        container,
        layers.map(layer => layer.diffId),
      )
      this.touch(image, nowMs)
    })
  }

  /** Keeps layers that no image of the store has for as long as a container is there. Until its row is made, a lease has to hold them. */
  keepLayersFor(container: string, diffIds: readonly Digest[]): void {
    this.#keep(container, 'layer', diffIds)
  }

  /** Ids of the containers that were made of one of the image's manifests. */
  containersOf(digest: Digest): readonly string[] {
    return this.#rows(
      `SELECT DISTINCT container FROM container_content
       WHERE kind = 'blob' AND digest IN (SELECT digest FROM image_manifest WHERE image = ?) ORDER BY container`,
      [digest],
    ).map(([id]) => String(id))
  }

  /** Who needs which content: images, containers, and leases of processes that live; in no order. */
  needs(): readonly ContentNeed[] {
    const dead = JSON.stringify(deadLeases(this.#database))
    return this.#rows(
      `SELECT kind, digest, 'image', image FROM image_content UNION ALL
       SELECT kind, digest, 'container', container FROM container_content UNION ALL
       SELECT kind, digest, 'lease', CAST(lease AS TEXT) FROM lease_item WHERE lease NOT IN (SELECT value FROM json_each(?))`,
      [dead],
    ).map(([kind, digest, by, id]) => ({
      kind: kind === 'layer' ? 'layer' : 'blob',
      digest: String(digest) as Digest,
      by: by === 'image' || by === 'container' ? by : 'lease',
      id: String(id),
    }))
  }

  /** Of the digests those that some image, container or living lease needs. */
  needed(kind: ContentKind): ReadonlySet<Digest> {
    const dead = JSON.stringify(deadLeases(this.#database))
    const rows = this.#rows(
      `SELECT digest FROM image_content WHERE kind = ?1 UNION SELECT digest FROM container_content WHERE kind = ?1
       UNION SELECT digest FROM lease_item WHERE kind = ?1 AND lease NOT IN (SELECT value FROM json_each(?2))`,
      [kind, dead],
    )
    return new Set(rows.map(([digest]) => String(digest) as Digest))
  }

  /**
   * Garbage collection: gives `remove` what of `stored` nothing needs. Nobody can come to need it meanwhile: who wants content
   * has to write his lease first and look afterwards, and writing waits for the end of this. `remove` must be quick, and
   * not wait for anything.
   */
  collect<T>(stored: StoredContent, remove: (garbage: StoredContent) => T): T {
    // What has been forgotten must not come back by a power cut after its content is gone: synchronous=NORMAL leaves that open.
    syncLog(this.#database)
    return this.#exclusively(() => {
      const garbageOf = (kind: ContentKind): Digest[] => {
        const needed = this.needed(kind)
        return stored[kind].filter(digest => !needed.has(digest))
      }
      return remove({ blob: garbageOf('blob'), layer: garbageOf('layer') })
    })
  }

  #keep(container: string, kind: ContentKind, digests: readonly Digest[]): void {
    this.#run('INSERT OR IGNORE INTO container_content SELECT ?, ?, value FROM json_each(?)', [
      ...[container, kind, JSON.stringify(digests)],
    ])
  }

  #name(name: string, digest: Digest): readonly MovedName[] {
    const [row] = this.#rows('SELECT digest FROM image_name WHERE name = ?', [name])
    this.#run('INSERT OR REPLACE INTO image_name VALUES (?, ?)', [name, digest])
    return row === undefined || row[0] === digest ? [] : [{ name, from: String(row[0]) as Digest }]
  }

  #expect(digest: Digest): void {
    if (this.#rows('SELECT 1 FROM image WHERE digest = ?', [digest]).length === 0)
      throw new BerthError('notFound', `Cannot find image "${digest}": it is not there any more`)
  }

  #load(condition: string, values: readonly string[]): readonly ImageRecord[] {
    const read = this.#database.transaction((): readonly ImageRecord[] => {
      const images = this.#rows(
        `SELECT digest, media_type, size_bytes, pulled_ms, used_ms, pinned FROM image WHERE ${condition} ORDER BY pulled_ms DESC, digest`,
        values,
      )
      if (images.length === 0) return []
      // Of a few images their own rows, of all of them all.
      const chosen = JSON.stringify(images.map(([digest]) => digest))
      const names = this.#rows(
        'SELECT digest, name FROM image_name WHERE digest IN (SELECT value FROM json_each(?)) ORDER BY name',
        [chosen],
      )
      const manifests = this.#rows(
        `SELECT image, digest, platform, config_digest, created_ms, layers, labels FROM image_manifest
         WHERE image IN (SELECT value FROM json_each(?)) ORDER BY platform, digest`,
        [chosen],
      )
      const [namesOf, manifestsOf] = [grouped(names), grouped(manifests)]
      return images.map(row => imageRecord(row, namesOf(row[0]), manifestsOf(row[0])))
    })
    return read()
  }

  #rows(sql: string, values: readonly (string | number | null)[] = []): readonly Row[] {
    return this.#database.query(sql).values(...values)
  }

  #run(sql: string, values: readonly (string | number | null)[]): void {
    writeDatabase(() => this.#database.query(sql).run(...values))
  }

  #exclusively<T>(work: () => T): T {
    return writeDatabase(() => this.#database.transaction(work).immediate())
  }
}

/** Rows by their first column. */
function grouped(rows: readonly Row[]): (key: unknown) => readonly Row[] {
  const groups = Map.groupBy(rows, row => row[0])
  return key => groups.get(key) ?? []
}

function imageRecord(row: Row, names: readonly Row[], manifests: readonly Row[]): ImageRecord {
  const [digest, mediaType, sizeBytes, pulledMs, usedMs, pinned] = row
  return {
    digest: String(digest) as Digest,
    mediaType: String(mediaType),
    sizeBytes: Number(sizeBytes),
    names: names.map(([, name]) => String(name)),
    manifests: manifests.map(imageManifest),
    pulledMs: Number(pulledMs),
    usedMs: Number(usedMs),
    pinned: pinned === 1,
  }
}

function imageManifest([, digest, platform, configDigest, createdMs, layers, labels]: Row): ImageManifest {
  return {
    digest: String(digest) as Digest,
    platform: String(platform),
    configDigest: String(configDigest) as Digest,
    createdMs: createdMs === null ? null : Number(createdMs),
    layers: JSON.parse(String(layers)) as readonly ImageLayer[],
    labels: JSON.parse(String(labels)) as Readonly<Record<string, string>>,
  }
}

function contentItem([kind, digest, sizeBytes]: Row): ContentItem {
  return {
    kind: kind === 'layer' ? 'layer' : 'blob',
    digest: String(digest) as Digest,
    sizeBytes: Number(sizeBytes),
  }
}

/** Makes sure that all that was committed is on disk. */
function syncLog({ filename }: Database): void {
  if (filename === '' || filename === ':memory:') return
  let fd: number
  try {
    fd = openSync(`${filename}-wal`, 'r')
  } catch (error) {
    // There is no log: everything is in the database file, synced.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

import { BerthError } from '../lib/error.ts'
import type { Digest } from '../oci/digest.ts'
import type { SnapshotRoot, VeilEntry } from './root-source.ts'

/**
 * Root filesystems of containers from the layers of images.
 *
 * A **layer** is a directory in the form that overlayfs takes as a lower one, or an EROFS image that holds such a directory: unpacked once
 * and alone by the `LayerStore`, never changed.
 * A **stack** is the layers of an image, the topmost first. A **root** is a stack with something writable on top; it belongs to one
 * container and is made in that container's own directory. A **chain snapshot** is a stack merged into one read-only tree, named by its
 * chainID: what btrfs makes roots from. It is a cache: made when missing, gone with the layers that it was made from.
 *
 * The life of a root:
 *
 *     describe ──▶ create ──▶ activate ──▶ (the container runs) ──▶ activate ──▶ (and again) ──▶ remove
 *      no effect    once       before each start
 *
 * Whatever gets killed between two of these, `remove` is the way out: it takes a root in any state. There is no `deactivate`: what a driver
 * keeps running for a container must end by itself when the container's mounts do.
 *
 * An image of two layers, the container's directory being `D`:
 *
 *     const stack = { lowers: ['/var/lib/berth/layers/sha256/b…/root', '/var/lib/berth/layers/sha256/a…/root'] }
 *     const ids = { start: 1_400_000, size: 65_536 }      // the container's root is 1400000 on the host
 *     driver.describe(D, stack, ids)
 *       // overlay:        { kind: 'overlay', lowers: stack.lowers, upper: 'D/upper', work: 'D/work' }
 *       // vfs:            { kind: 'directory', path: 'D/snapshot/root' }   a copy, its owners already shifted by 1400000
 *       // btrfs:          { kind: 'idmapped', path: 'D/snapshot/root' }    a writable snapshot, with the ids of the image
 *       // fuse-overlayfs: { kind: 'served', namespace: 'D/fuse.namespace', path: 'D/fuse/root' }
 *       // erofs:          as overlay, with the paths of images: '/var/lib/berth/layers/sha256/b…/layer.erofs'
 *     await driver.create(D, stack, ids)
 *     await driver.activate(D, stack, ids)                // then the runtime mounts what was described
 *     await driver.remove(D)
 *
 * Errors of all methods: {@link BerthError} unavailable when the disk is full, StepError for other failures of a system call.
 */
export interface SnapshotDriver {
  readonly name: DriverName

  /** What `create` and `activate` will have prepared. Pure. @throws {BerthError} notImplemented: this driver can't take such a stack */
  describe(directory: string, stack: LayerStack, ids: RootIds | null): SnapshotRoot

  /** Makes the root in a directory that exists and is the container's own. Cancelled or failed, it may leave a part: `remove` it. */
  create(directory: string, stack: LayerStack, ids: RootIds | null, signal?: AbortSignal): Promise<void>

  /** Starts what must run while the container does. Idempotent. */
  activate(directory: string, stack: LayerStack, ids: RootIds | null): Promise<void>

  /** Removes what `create` and `activate` made, complete or not. Idempotent; the directory itself stays. */
  remove(directory: string): Promise<void>

  /** What a root takes of the disk; of a container that runs, about that. */
  usageOf(directory: string): Promise<SnapshotUsage>

  /** Where to see what a container has changed. Dispose it when that was read. */
  changesOf(directory: string, stack: LayerStack, ids: RootIds | null): Promise<SnapshotChanges & AsyncDisposable>

  /** The chain snapshots that there are; none with drivers that make none. */
  chains(): Promise<readonly ChainSnapshot[]>

  /** Removes what killed processes left, and chain snapshots whose layers are gone. Safe beside everything else. */
  sweep(): Promise<void>
}

/** In the order in which they are preferred; what stands behind vfs, which works everywhere, is used only when it is asked for. */
export const DRIVER_NAMES = ['overlay', 'btrfs', 'fuse-overlayfs', 'vfs', 'erofs'] as const
export type DriverName = (typeof DRIVER_NAMES)[number]

/** What a root is made from. */
export interface LayerStack {
  /** Absolute directories or layers' images (see isLayerImage()), topmost first: layers of the store, or any directory of the host (`--rootfs`). */
  readonly lowers: readonly string[]
  /** Parts of the machine's own tree are hidden from the container (the `host` image), which only an overlay does. */
  readonly isHost?: boolean
  /** What the root begins with, on top of the lowers; of the host only. */
  readonly seed?: Seed
}

/**
 * A layer that can't be a lower one: overlayfs takes no directory that lies in another lower one, and everything lies in `/`. It is copied
 * into the container's own directory, under the veil.
 */
export interface Seed {
  /** The layer: absolute. */
  readonly path: string
  /** What of the lowers stays hidden, whatever the layer has there. */
  readonly veil: readonly VeilEntry[]
}

/** The host ids of a container: those of the image from 0 on are those of the host from `start` on; others are nobody's. */
export interface RootIds {
  readonly start: number
  readonly size: number
}

/** Bytes on the disk, as allocated. */
export interface SnapshotUsage {
  /** Files, directories and the like, each once however many names it has. */
  readonly fileCount: number
  /** Freed by removing the root. */
  readonly uniqueBytes: number
  /** Held also by layers or other roots, through extents of the filesystem; not what an overlay shows of its layers. */
  readonly sharedBytes: number
}

/**
 * A container's own changes: a directory that holds them, with overlayfs's whiteouts (character devices 0:0) and opaque directories
 * (trusted.overlay.opaque=y). Drivers that keep whole trees make it when it is asked for.
 */
export interface SnapshotChanges {
  readonly path: string
  /** The host ids of the files; null: they have the ids of the image. */
  readonly ids: RootIds | null
  /** fuse-overlayfs has left its own marks in it. */
  readonly hasFuseMarks?: boolean
}

/** A stack as one tree. */
export interface ChainSnapshot {
  /** The chainID of its layers. */
  readonly chainId: Digest
  readonly path: string
  /** Lowest first. */
  readonly diffIds: readonly Digest[]
}

/** For drivers that make a copy of what they are given. @throws {BerthError} notImplemented: it is the whole machine */
export function refuseHost({ isHost, seed }: LayerStack, driver: DriverName): void {
  if (isHost !== true) return
  const what = seed === undefined ? 'image "host"' : 'an image that is on top of "host"'
  throw new BerthError(
    'notImplemented',
    `Cannot run ${what} with storage driver "${driver}": it would have to hide parts of the machine's own tree, expected overlay`,
  )
}

/** Where a container's root filesystem comes from, in the words of mounts: what snapshot drivers give and the runtime's composers take. */

/** The directories of an overlay. A lower one may be a layer's image: see isLayerImage(). */
export interface OverlayLayers {
  /** Absolute paths, topmost first. */
  readonly lowers: readonly string[]
  /** Owned by the mapped root, not idmapped: an idmapped upper turns the overlay read-only. */
  readonly upper: string
  readonly work: string
  /** What is put into the upper directory before the container sees it. */
  readonly veil?: Veil | null
}

/** Hides parts of the layers from a container, by whiteouts and empty directories in its own upper directory. */
export interface Veil {
  /** Host id of the container's root, who owns what is made. */
  readonly owner: number
  /** In order, parents first. Paths are absolute inside the container, modes those of the layers. */
  readonly entries: readonly VeilEntry[]
}

/** `parent`: a directory on the way, which shows its layers; `empty`: one that does not; `hidden`: a file or directory that is not there. */
export interface VeilEntry {
  readonly kind: 'parent' | 'empty' | 'hidden'
  readonly path: string
  readonly mode: number
}

/** A directory whose files have the ids that the container's processes have on the host. */
export interface DirectoryRoot {
  readonly kind: 'directory'
  readonly path: string
}

/** A directory whose files have the ids of the image; an idmapped mount shows them as the container's. */
export interface IdmappedRoot {
  readonly kind: 'idmapped'
  readonly path: string
}

/** A copy-on-write view: lower directories idmapped into the container's user namespace. */
export type OverlayRoot = { readonly kind: 'overlay' } & OverlayLayers

/** A filesystem that a program on the host serves through FUSE; it is mounted where nobody but the program sees it. */
export interface ServedRoot {
  readonly kind: 'served'
  /** Absolute path of (a link to) the mount namespace that it is mounted in. */
  readonly namespace: string
  /** The absolute path of its mount in there. */
  readonly path: string
}

/** What a snapshot driver prepares. */
export type SnapshotRoot = DirectoryRoot | IdmappedRoot | OverlayRoot | ServedRoot

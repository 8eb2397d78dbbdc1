import type { Digest } from '../oci/digest.ts'
import type { ImageConfig } from '../oci/image-config.ts'
import type { VeilEntry } from '../runtime/container-input.ts'
import type { ImageManifest } from './image-record.ts'

export type { ImageConfig }

/** An image of the store, and which of its platforms. */
export interface StoredUse {
  readonly image: Digest
  readonly manifest: ImageManifest
}

/** Layers of the store that no image of it needs, for a container to keep. */
export interface BorrowedLayers {
  readonly diffIds: readonly Digest[]
  /** Keeps them until it is released: when the container does. */
  readonly lease: Disposable
}

/** An image whose layers are on disk, so that a container can be put on top of them. */
export interface RunnableImage {
  readonly name: string
  readonly config: ImageConfig
  /** Absolute directories, topmost first. */
  readonly lowers: readonly string[]
  /** What of the layers a container does not see. */
  readonly veil?: readonly VeilEntry[]
  /** A layer that is put into each container's own directory, since no overlay takes it beside the machine's root. An absolute path. */
  readonly seed?: string
  /** Where it is an image of the store: what has to stay there as long as a container of it does. */
  readonly stored?: StoredUse
  /** Where it is an image from elsewhere, unpacked into the store. */
  readonly borrowed?: BorrowedLayers
}

/** The config of a root filesystem that says nothing of itself: a program to run, and nothing else. */
export function bareConfig(program: string): ImageConfig {
  return {
    env: [],
    entrypoint: [],
    cmd: [program],
    workingDir: '/',
    user: '',
    volumes: [],
    stopSignal: '',
    labels: {},
    exposedPorts: [],
  }
}

import type { ImageConfig } from '../oci/image-config.ts'
import type { VeilEntry } from '../runtime/container-input.ts'

export type { ImageConfig }

/** An image whose layers are on disk, so that a container can be put on top of them. */
export interface RunnableImage {
  readonly name: string
  readonly config: ImageConfig
  /** Absolute directories, topmost first. */
  readonly lowers: readonly string[]
  /** What of the layers a container does not see. */
  readonly veil?: readonly VeilEntry[]
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

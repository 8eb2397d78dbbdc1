import type { VeilEntry } from '../runtime/container-input.ts'

/** What an image says about the process it is made for. Everything in it is a proposal: nothing here can lower isolation. */
export interface ImageConfig {
  /** `NAME=VALUE`. */
  readonly env: readonly string[]
  readonly entrypoint: readonly string[]
  readonly cmd: readonly string[]
  /** Empty: `/`. */
  readonly workingDir: string
  /** As written; empty: root. */
  readonly user: string
  readonly volumes: readonly string[]
  /** As written; empty: SIGTERM. */
  readonly stopSignal: string
  readonly labels: Readonly<Record<string, string>>
  readonly exposedPorts: readonly string[]
}

/** An image whose layers are on disk, so that a container can be put on top of them. */
export interface RunnableImage {
  readonly name: string
  readonly config: ImageConfig
  /** Absolute directories, topmost first. */
  readonly lowers: readonly string[]
  /** What of the layers a container does not see. */
  readonly veil?: readonly VeilEntry[]
}

/**
 * The config of an image: what to execute, and which layers it consists of.
 * Source: image-spec › OCI Image Configuration; the same document as Docker's.
 */
import { flag, list, map, matching, object, oneOf, parseJson, required, type Shape, text } from '../lib/json-shape.ts'
import { type Digest, digest } from './digest.ts'
import type { Platform } from './platform.ts'

/** What a container of the image runs with unless told otherwise. A stranger wrote it: it is a proposal, and nothing in it can lower isolation. */
export interface ImageConfig {
  /** `NAME=value`, in order. */
  readonly env: readonly string[]
  readonly entrypoint: readonly string[]
  readonly cmd: readonly string[]
  /** Empty: the root directory. */
  readonly workingDir: string
  /** `user[:group]`, names or numbers; empty: root. */
  readonly user: string
  /** Paths in the container that are to be volumes. */
  readonly volumes: readonly string[]
  /** Such as `SIGTERM` or `15`, as written; empty: SIGTERM. */
  readonly stopSignal: string
  readonly labels: Readonly<Record<string, string>>
  /** Such as `80/tcp`. */
  readonly exposedPorts: readonly string[]
}

/** A step in which the image was made. */
export interface History {
  readonly created?: string
  readonly author?: string
  readonly created_by?: string
  readonly comment?: string
  /** It added no layer. */
  readonly empty_layer?: boolean
}

/** The whole document. */
export interface ImageDocument {
  readonly platform: Platform
  readonly created: string | null
  readonly author: string | null
  readonly config: ImageConfig
  /** The layers' digests uncompressed, the lowest first. */
  readonly diffIds: readonly Digest[]
  readonly history: readonly History[]
}

interface WireConfig {
  readonly User?: string
  readonly ExposedPorts?: Readonly<Record<string, unknown>>
  readonly Env?: readonly string[]
  readonly Entrypoint?: readonly string[]
  readonly Cmd?: readonly string[]
  readonly Volumes?: Readonly<Record<string, unknown>>
  readonly WorkingDir?: string
  readonly Labels?: Readonly<Record<string, string>>
  readonly StopSignal?: string
}

interface WireDocument extends Platform {
  readonly created?: string
  readonly author?: string
  readonly config?: WireConfig
  readonly rootfs: { readonly type: 'layers'; readonly diff_ids: readonly Digest[] }
  readonly history?: readonly History[]
}

// No system call takes a NUL, and a config that holds one wants to be read differently by different readers.
const word = matching(/^[^\0]*$/s)
const words = list(word)
const empty = object<Readonly<Record<never, never>>>({})
const timestamp = matching(/^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/)

const wire: Shape<WireDocument> = object<WireDocument>({
  os: required(text),
  architecture: required(text),
  variant: text,
  'os.version': text,
  'os.features': list(text),
  created: timestamp,
  author: text,
  config: object<WireConfig>({
    User: word,
    ExposedPorts: map(empty),
    Env: words,
    Entrypoint: words,
    Cmd: words,
    Volumes: map(empty),
    WorkingDir: word,
    Labels: map(text),
    StopSignal: word,
  }),
  rootfs: required(
    object<WireDocument['rootfs']>({ type: required(oneOf(['layers'])), diff_ids: required(list(digest)) }),
  ),
  history: list(
    object<History>({ created: timestamp, author: text, created_by: text, comment: text, empty_layer: flag }),
  ),
})

/**
 * Parses an image's config; `name` is its name in errors.
 * @throws {BerthError} invalidArgument
 */
export function parseImageConfig(json: string, name: string): ImageDocument {
  const { value } = parseJson(json, name, wire)
  const { os, architecture, variant, created, author, config = {}, rootfs, history = [] } = value
  return {
    platform: { os, architecture, ...(variant ? { variant } : {}) },
    created: created ?? null,
    author: author ?? null,
    config: {
      env: config.Env ?? [],
      entrypoint: config.Entrypoint ?? [],
      cmd: config.Cmd ?? [],
      workingDir: config.WorkingDir ?? '',
      user: config.User ?? '',
      volumes: Object.keys(config.Volumes ?? {}),
      stopSignal: config.StopSignal ?? '',
      labels: config.Labels ?? {},
      exposedPorts: Object.keys(config.ExposedPorts ?? {}),
    },
    diffIds: rootfs.diff_ids,
    history,
  }
}

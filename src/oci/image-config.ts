/**
 * The config of an image: what to execute, and which layers it consists of.
 * Source: image-spec › OCI Image Configuration; the same document as Docker's.
 */
import {
  flag,
  integer,
  list,
  map,
  matching,
  object,
  oneOf,
  otherProperties,
  type Properties,
  required,
  type Shape,
  text,
} from '../lib/json-shape.ts'
import { type Digest, digest } from './digest.ts'
import { parseDocument } from './document.ts'
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
  readonly healthcheck?: Healthcheck
  /** What a builder runs commands written as text with; Docker's. */
  readonly shell?: readonly string[]
  /** Instructions that a builder executes first when it builds upon the image; Docker's. */
  readonly onBuild?: readonly string[]
  /** `cmd` is one line that Windows takes apart; Docker's. */
  readonly argsEscaped?: boolean
  /** Docker's. */
  readonly stopTimeoutSeconds?: number
  /** What else stands there, as it was written (`Hostname`, `Memory`, `Tty`, extensions); nothing here acts on it. */
  readonly others?: Readonly<Record<string, unknown>>
}

/** How to find out whether a container does its work. Source: Docker's HealthConfig. */
export interface Healthcheck {
  /** `NONE`, `CMD` and its words, or `CMD-SHELL` and a line; empty: inherited. */
  readonly test: readonly string[]
  readonly intervalNanoseconds?: number
  readonly timeoutNanoseconds?: number
  readonly startPeriodNanoseconds?: number
  readonly startIntervalNanoseconds?: number
  readonly retries?: number
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
  /** What else stands there, as it was written: `docker_version`, `container_config`, extensions. */
  readonly others?: Readonly<Record<string, unknown>>
}

/** Healthcheck as it is written. */
export interface WireHealthcheck {
  readonly Test?: readonly string[]
  readonly Interval?: number
  readonly Timeout?: number
  readonly StartPeriod?: number
  readonly StartInterval?: number
  readonly Retries?: number
}

/** `config` as it is written. */
export interface WireConfig {
  readonly User?: string
  readonly ExposedPorts?: Readonly<Record<string, unknown>>
  readonly Env?: readonly string[]
  readonly Entrypoint?: readonly string[]
  readonly Cmd?: readonly string[]
  readonly Volumes?: Readonly<Record<string, unknown>>
  readonly WorkingDir?: string
  readonly Labels?: Readonly<Record<string, string>>
  readonly StopSignal?: string
  readonly Healthcheck?: WireHealthcheck
  readonly Shell?: readonly string[]
  readonly OnBuild?: readonly string[]
  readonly ArgsEscaped?: boolean
  readonly StopTimeout?: number
}

/** The document as it is written. */
export interface WireDocument extends Platform {
  readonly created?: string
  readonly author?: string
  readonly config?: WireConfig
  readonly rootfs: { readonly type: 'layers'; readonly diff_ids: readonly Digest[] }
  readonly history?: readonly History[]
}

// No system call takes a NUL, and a config that holds one wants to be read differently by different readers.
const word = matching(/^[^\0]*$/s)
const words = list(word)
// Go reads null as an empty struct.
const nothing: Shape<null> = (value, place) => {
  if (value !== null) object<object>({})(value, place)
  return null
}
const timestamp = matching(/^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/)
const count = integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)

const healthcheck = object<WireHealthcheck>({
  Test: words,
  Interval: count,
  Timeout: count,
  StartPeriod: count,
  StartInterval: count,
  Retries: count,
})

const configProperties: Properties<WireConfig> = {
  User: word,
  ExposedPorts: map(nothing),
  Env: words,
  Entrypoint: words,
  Cmd: words,
  Volumes: map(nothing),
  WorkingDir: word,
  Labels: map(text),
  StopSignal: word,
  Healthcheck: healthcheck,
  Shell: words,
  OnBuild: words,
  ArgsEscaped: flag,
  StopTimeout: count,
}

const documentProperties: Properties<WireDocument> = {
  os: required(text),
  architecture: required(text),
  variant: text,
  'os.version': text,
  'os.features': list(text),
  created: timestamp,
  author: text,
  config: withOthers(configProperties),
  rootfs: required(
    object<WireDocument['rootfs']>({ type: required(oneOf(['layers'])), diff_ids: required(list(digest)) }),
  ),
  history: list(
    object<History>({ created: timestamp, author: text, created_by: text, comment: text, empty_layer: flag }),
  ),
}

type WithOthers<T> = T & { readonly others: Readonly<Record<string, unknown>> }

/** An object with what it has besides, so that none of it is lost when the document is written again. */
function withOthers<T>(properties: Properties<T>): Shape<WithOthers<T>> {
  const shape = object(properties)
  const others = otherProperties(new Set(Object.keys(properties)))
  return (value, place) => ({ ...shape(value, place), others: others(value, place) })
}

const wire = withOthers(documentProperties)

/**
 * Parses an image's config; `name` is its name in errors.
 * @throws {BerthError} invalidArgument
 */
export function parseImageConfig(document: string | Uint8Array, name: string): ImageDocument {
  const { created, author, config, rootfs, history = [], others, ...platform } = parseDocument(document, name, wire)
  return {
    platform: platformOf(platform),
    created: created ?? null,
    author: author ?? null,
    config: configOf(config ?? {}),
    diffIds: rootfs.diff_ids,
    history,
    ...(isEmpty(others) ? {} : { others }),
  }
}

/** Empty texts and lists count as absent. */
function platformOf({ os, architecture, variant, ...rest }: Platform): Platform {
  const { 'os.version': version, 'os.features': features = [] } = rest
  return {
    os,
    architecture,
    ...(variant ? { variant } : {}),
    ...(version ? { 'os.version': version } : {}),
    ...(features.length > 0 ? { 'os.features': features } : {}),
  }
}

function configOf(wire: WireConfig & Partial<WithOthers<unknown>>): ImageConfig {
  const { Healthcheck, Shell, OnBuild, ArgsEscaped, StopTimeout, others = {} } = wire
  return {
    env: wire.Env ?? [],
    entrypoint: wire.Entrypoint ?? [],
    cmd: wire.Cmd ?? [],
    workingDir: wire.WorkingDir ?? '',
    user: wire.User ?? '',
    volumes: Object.keys(wire.Volumes ?? {}),
    stopSignal: wire.StopSignal ?? '',
    labels: wire.Labels ?? {},
    exposedPorts: Object.keys(wire.ExposedPorts ?? {}),
    ...(Healthcheck === undefined ? {} : { healthcheck: healthcheckOf(Healthcheck) }),
    ...(Shell === undefined ? {} : { shell: Shell }),
    ...(OnBuild === undefined ? {} : { onBuild: OnBuild }),
    ...(ArgsEscaped === undefined ? {} : { argsEscaped: ArgsEscaped }),
    ...(StopTimeout === undefined ? {} : { stopTimeoutSeconds: StopTimeout }),
    ...(isEmpty(others) ? {} : { others }),
  }
}

function healthcheckOf({ Test, Interval, Timeout, StartPeriod, StartInterval, Retries }: WireHealthcheck): Healthcheck {
  return {
    test: Test ?? [],
    ...(Interval === undefined ? {} : { intervalNanoseconds: Interval }),
    ...(Timeout === undefined ? {} : { timeoutNanoseconds: Timeout }),
    ...(StartPeriod === undefined ? {} : { startPeriodNanoseconds: StartPeriod }),
    ...(StartInterval === undefined ? {} : { startIntervalNanoseconds: StartInterval }),
    ...(Retries === undefined ? {} : { retries: Retries }),
  }
}

function isEmpty(map: Readonly<Record<string, unknown>>): boolean {
  return Object.keys(map).length === 0
}

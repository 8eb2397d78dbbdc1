import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BerthError } from '../lib/error.ts'
import {
  flag,
  formatJson,
  integer,
  list,
  map,
  object,
  oneOf,
  parseJson,
  required,
  text,
  texts,
} from '../lib/json-shape.ts'
import type { RootSource, VeilEntry } from '../runtime/container-input.ts'
import type { LayerStack } from '../snapshot/snapshot-driver.ts'
import type { ContainerOptions } from './container-options.ts'

/** What of a container's making must be known when it is looked at later: by diff, commit and export. */
export interface RootRecord {
  /** Null: its root filesystem is not made of layers alone. */
  readonly lowers: readonly string[] | null
  readonly veil: readonly VeilEntry[]
  /** It is a container of the machine's own root filesystem. */
  readonly isHost: boolean
  /** The layer that its own directory began with; null: it was empty. */
  readonly seed: string | null
  /** What its options say instead of the image's config. */
  readonly config: RootConfig
}

/** The options that become the config of an image made of the container. */
export interface RootConfig {
  readonly entrypoint?: readonly string[]
  readonly command: readonly string[]
  readonly env: readonly string[]
  readonly user?: string
  readonly workdir?: string
  readonly labels: Readonly<Record<string, string>>
}

const FILE = 'root.json'

const veilEntry = object<VeilEntry>({
  kind: required(oneOf(['parent', 'empty', 'hidden'])),
  path: required(text),
  mode: required(integer(0, 0o7777)),
})
const config = object<RootConfig>({
  entrypoint: texts,
  command: required(texts),
  env: required(texts),
  user: text,
  workdir: text,
  labels: required(map(text)),
})
interface WireRecord {
  readonly lowers?: readonly string[]
  readonly isHost?: boolean
  readonly seed?: string
  readonly veil: readonly VeilEntry[]
  readonly config: RootConfig
}
const record = object<WireRecord>({
  lowers: texts,
  isHost: flag,
  seed: text,
  veil: required(list(veilEntry)),
  config: required(config),
})

/** Writes the record into the container's directory. */
export function writeRootRecord(
  directory: string,
  root: RootSource,
  { lowers, isHost = false, seed }: LayerStack,
  options: ContainerOptions,
): void {
  const { entrypoint, command, env, user, workdir, labels } = options
  const value = {
    ...(root.kind !== 'patchwork' && { lowers }),
    isHost,
    ...(seed !== undefined && { seed: seed.path }),
    veil: seed?.veil ?? (root.kind === 'overlay' ? root.veil?.entries : undefined) ?? [],
    config: {
      ...(entrypoint !== null && { entrypoint }),
      command,
      env,
      ...(user !== null && { user }),
      ...(workdir !== null && { workdir }),
      labels,
    },
  }
  writeFileSync(join(directory, FILE), formatJson(value), { mode: 0o600 })
}

/** Reads it back. @throws {BerthError} conflict: the container is still being made, or gone; invalidArgument: it is damaged */
export function readRootRecord(directory: string): RootRecord {
  const path = join(directory, FILE)
  if (!existsSync(path))
    throw new BerthError(
      'conflict',
      `Cannot read "${path}": it does not exist, expected that of a container that was made`,
    )
  const { value } = parseJson(readFileSync(path, 'utf8'), path, record)
  const { lowers = null, isHost = false, seed = null, ...rest } = value
  return { lowers, isHost, seed, veil: rest.veil, config: rest.config }
}

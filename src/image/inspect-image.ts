import { BerthError } from '../lib/error.ts'
import { list, map, object, parseJson, type Shape, text } from '../lib/json-shape.ts'
import { fromJson, type Value } from '../lib/template/value.ts'
import type { ImageDocument } from '../oci/image-config.ts'
import { bestMatch, type Platform, parsePlatform, printPlatform } from '../oci/platform.ts'
import { familiarReference, parseReference } from '../oci/reference.ts'
import { imageGraphDriver } from '../snapshot/graph-driver.ts'
import type { DriverName } from '../snapshot/snapshot-driver.ts'
import type { FoundImage } from './find-image.ts'
import { type ImageManifest, type ImageRecord, ownManifest } from './image-record.ts'
import { imageSize } from './image-size.ts'
import type { ImageStore } from './image-store.ts'
import { readManifestDocument } from './manifest-document.ts'
import { imagesOfId } from './remove-image.ts'

/** An image as the Engine API's ImageInspect has it; maps are Maps, for templates. */
export type InspectedImage = Readonly<Record<string, Value>>

/** What only Docker knows of a config. */
interface DockerConfig {
  readonly comment?: string
  readonly docker_version?: string
  readonly 'os.version'?: string
  readonly config?: {
    readonly Healthcheck?: Readonly<Record<string, unknown>>
    readonly OnBuild?: readonly string[]
    readonly Shell?: readonly string[]
  }
}

const anything: Shape<unknown> = value => value
const dockerConfig = object<DockerConfig>({
  comment: text,
  docker_version: text,
  'os.version': text,
  config: object<NonNullable<DockerConfig['config']>>({
    Healthcheck: map(anything),
    OnBuild: list(text),
    Shell: list(text),
  }),
})

/** Docker's way to say that it does not know when. */
const NEVER = '0001-01-01T00:00:00Z'

/**
 * Describes an image, as `docker image inspect` does: the platform that was named, or asked for, or fits this machine.
 * @throws {BerthError} notFound: not for the platform; invalidArgument: a damaged document
 */
export async function inspectImage(
  found: FoundImage,
  { content, layers, records }: Pick<ImageStore, 'content' | 'layers' | 'records'>,
  driver: DriverName,
  platform: Platform | null = null,
): Promise<InspectedImage> {
  const { image } = found
  const manifest = found.manifest ?? chosenManifest(image, platform)
  // Named by an id it is all that has this id; named by a name, what has the name.
  const others = found.name === null ? imagesOfId(manifest.configDigest, records) : []
  const same = [image, ...others.filter(({ digest }) => digest !== image.digest)]
  const { document, json } = await readManifestDocument(manifest, content)
  const { value: docker } = parseJson(json, `config ${manifest.configDigest}`, dockerConfig)
  const { os, architecture, variant } = document.platform
  const paths = await Promise.all(manifest.layers.map(async ({ diffId }) => (await layers.find(diffId))?.path))
  const unpacked = paths.filter(path => path !== undefined)
  const complete = unpacked.length === paths.length
  return {
    Id: manifest.configDigest,
    RepoTags: same.flatMap(repoTags).sort(),
    RepoDigests: same.flatMap(repoDigests).sort(),
    Parent: '',
    Comment: docker.comment ?? document.history.at(-1)?.comment ?? '',
    Created: document.created ?? NEVER,
    DockerVersion: docker.docker_version ?? '',
    Author: document.author ?? '',
    Config: configOf(document, docker),
    Architecture: architecture,
    Variant: variant ?? '',
    Os: os,
    OsVersion: docker['os.version'] ?? '',
    Size: await imageSize(manifest, layers),
    // Not Docker's: what is below the layers and in no image.
    Base: records.isOnHost(image.digest) ? 'host' : '',
    GraphDriver: { ...imageGraphDriver(driver, complete ? unpacked.toReversed() : null) },
    RootFS: { Type: 'layers', Layers: document.diffIds },
    Metadata: { LastTagTime: NEVER },
    Descriptor: { mediaType: image.mediaType, digest: image.digest, size: image.sizeBytes },
  }
}

/** The manifest to describe. @throws {BerthError} notFound */
export function chosenManifest(image: ImageRecord, platform: Platform | null): ImageManifest {
  const offers = image.manifests.map(manifest => ({ manifest, platform: parsePlatform(manifest.platform) }))
  const chosen = platform === null ? ownManifest(image) : bestMatch(platform, offers)?.manifest
  if (chosen !== null && chosen !== undefined) return chosen
  const offered = image.manifests.map(manifest => manifest.platform).join(', ')
  const wanted = platform === null ? 'any platform' : printPlatform(platform)
  throw new BerthError(
    'notFound',
    `Cannot find image "${image.names[0] ?? image.digest}" for ${wanted}: what is here is for ${offered}`,
  )
}

/** The names with a tag, as users write them. */
export function repoTags({ names }: Pick<ImageRecord, 'names'>): readonly string[] {
  return names
    .map(parseReference)
    .filter(({ tag }) => tag !== null)
    .map(familiarReference)
}

/** Where the target can be had by its digest: its repositories. */
export function repoDigests({ names, digest }: Pick<ImageRecord, 'names' | 'digest'>): readonly string[] {
  return [...new Set(names.map(name => familiarReference({ ...parseReference(name), tag: null, digest })))]
}

function configOf({ config }: ImageDocument, { config: docker = {} }: DockerConfig): Value {
  const orNull = (values: readonly string[]): Value => (values.length === 0 ? null : values)
  const emptySet = (keys: readonly string[]): Value =>
    keys.length === 0 ? null : new Map(keys.map(key => [key, {}] as const))
  return {
    User: config.user,
    ExposedPorts: emptySet(config.exposedPorts),
    Env: orNull(config.env),
    Entrypoint: orNull(config.entrypoint),
    Cmd: orNull(config.cmd),
    Healthcheck: fromJson(docker.Healthcheck),
    Volumes: emptySet(config.volumes),
    WorkingDir: config.workingDir,
    OnBuild: orNull(docker.OnBuild ?? []),
    Labels: new Map(Object.entries(config.labels)),
    StopSignal: config.stopSignal,
    Shell: orNull(docker.Shell ?? []),
  }
}

/**
 * Configs of images as bytes, the same ones for the same document: properties in the order of Docker's and the OCI's programs, maps by
 * name, no white space.
 * Source: image-spec › OCI Image Configuration.
 */
import { formatJson } from '../lib/json-shape.ts'
import type {
  Healthcheck,
  ImageConfig,
  ImageDocument,
  WireConfig,
  WireDocument,
  WireHealthcheck,
} from './image-config.ts'
import { sortedMap } from './manifest-format.ts'

/** The bytes of a config, whose digest is the image's ID. Nothing that {@link parseImageConfig} has read is lost. */
export function formatImageConfig({
  platform,
  created,
  author,
  config,
  diffIds,
  history,
  others,
}: ImageDocument): Uint8Array {
  const document: Written<WireDocument> = {
    created: created ?? undefined,
    author: author ?? undefined,
    architecture: platform.architecture,
    variant: platform.variant,
    os: platform.os,
    'os.version': platform['os.version'],
    'os.features': platform['os.features'],
    config: wireConfig(config),
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: history.length === 0 ? undefined : history,
  }
  return new TextEncoder().encode(formatJson({ ...document, ...sortedMap(others) }))
}

/** All properties of a document that a parser knows; JSON leaves out what is undefined. */
type Written<T> = Readonly<Record<keyof T, unknown>>

function wireConfig(config: ImageConfig): Written<WireConfig> {
  const { env, entrypoint, cmd, workingDir, user, volumes, stopSignal, labels, exposedPorts, healthcheck } = config
  const document: Written<WireConfig> = {
    User: user || undefined,
    ExposedPorts: setOf(exposedPorts),
    Env: unlessEmpty(env),
    Entrypoint: unlessEmpty(entrypoint),
    Cmd: unlessEmpty(cmd),
    Healthcheck: healthcheck && wireHealthcheck(healthcheck),
    Volumes: setOf(volumes),
    WorkingDir: workingDir || undefined,
    Labels: Object.keys(labels).length === 0 ? undefined : sortedMap(labels),
    StopSignal: stopSignal || undefined,
    ArgsEscaped: config.argsEscaped,
    OnBuild: config.onBuild,
    Shell: config.shell,
    StopTimeout: config.stopTimeoutSeconds,
  }
  return { ...document, ...sortedMap(config.others) }
}

function wireHealthcheck(healthcheck: Healthcheck): Written<WireHealthcheck> {
  return {
    Test: unlessEmpty(healthcheck.test),
    Interval: healthcheck.intervalNanoseconds,
    Timeout: healthcheck.timeoutNanoseconds,
    StartPeriod: healthcheck.startPeriodNanoseconds,
    StartInterval: healthcheck.startIntervalNanoseconds,
    Retries: healthcheck.retries,
  }
}

function unlessEmpty(list: readonly string[]): readonly string[] | undefined {
  return list.length === 0 ? undefined : list
}

/** A set, as Go's programs write it: an object with empty objects. */
function setOf(names: readonly string[]): Readonly<Record<string, object>> | undefined {
  return names.length === 0 ? undefined : Object.fromEntries(names.toSorted().map(name => [name, {}]))
}

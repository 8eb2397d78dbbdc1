/**
 * Manifests and indexes as bytes, the same ones for the same document: properties in the order of the specification,
 * annotations by name, no white space.
 * Source: image-spec › Image Manifest, Image Index, Content Descriptors.
 */
import { formatJson } from '../lib/json-shape.ts'
import type { Descriptor } from './descriptor.ts'
import type { Index, Manifest } from './manifest.ts'
import type { Platform } from './platform.ts'

/** The bytes of a manifest, whose digest is its name. */
export function formatManifest(manifest: Manifest): Uint8Array {
  const { schemaVersion, mediaType, artifactType, config, layers, subject, annotations } = manifest
  return encode({
    schemaVersion,
    mediaType,
    artifactType,
    config: wireDescriptor(config),
    layers: layers.map(wireDescriptor),
    subject: subject && wireDescriptor(subject),
    annotations: sortedMap(annotations),
  })
}

/** The bytes of an index. See {@link formatManifest}. */
export function formatIndex(index: Index): Uint8Array {
  const { schemaVersion, mediaType, artifactType, manifests, subject, annotations } = index
  return encode({
    schemaVersion,
    mediaType,
    artifactType,
    manifests: manifests.map(wireDescriptor),
    subject: subject && wireDescriptor(subject),
    annotations: sortedMap(annotations),
  })
}

/** A descriptor as documents have it. */
export function wireDescriptor(descriptor: Descriptor): Readonly<Record<string, unknown>> {
  const { mediaType, digest, sizeBytes, urls, data, artifactType, annotations, platform } = descriptor
  return {
    mediaType,
    digest,
    size: sizeBytes,
    urls,
    annotations: sortedMap(annotations),
    data,
    platform: platform && wirePlatform(platform),
    artifactType,
  }
}

function wirePlatform(platform: Platform): Readonly<Record<string, unknown>> {
  const { architecture, os, variant } = platform
  return { architecture, os, 'os.version': platform['os.version'], 'os.features': platform['os.features'], variant }
}

/** A map by name; undefined stays so. */
export function sortedMap<T>(map: Readonly<Record<string, T>> | undefined): Readonly<Record<string, T>> | undefined {
  return map && Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)))
}

function encode(document: Readonly<Record<string, unknown>>): Uint8Array {
  return new TextEncoder().encode(formatJson(document))
}

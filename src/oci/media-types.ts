/**
 * Media types of images: those of the OCI and those of Docker's schema 2, which mean the same documents.
 * Source: image-spec › Media Types; distribution › Image Manifest Version 2, Schema 2.
 */

export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json'
export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar'
export const DOCKER_INDEX = 'application/vnd.docker.distribution.manifest.list.v2+json'
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
export const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json'

/** The two bytes `{}`, where a document must name a blob and there is none. */
export const OCI_EMPTY = 'application/vnd.oci.empty.v1+json'

// Of 2014 to 2016. Its layers are named compressed only, and its signature covers text that has to be made up again.
const SCHEMA_1: readonly string[] = [
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
]

const INDEXES: readonly string[] = [OCI_INDEX, DOCKER_INDEX]
const MANIFESTS: readonly string[] = [OCI_MANIFEST, DOCKER_MANIFEST]
const CONFIGS: readonly string[] = [OCI_CONFIG, DOCKER_CONFIG]

// Foreign and non-distributable layers differ only in where their blobs come from.
const LAYERS: readonly string[] = [
  OCI_LAYER,
  `${OCI_LAYER}+gzip`,
  `${OCI_LAYER}+zstd`,
  'application/vnd.oci.image.layer.nondistributable.v1.tar',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
  'application/vnd.docker.image.rootfs.diff.tar',
  'application/vnd.docker.image.rootfs.diff.tar.gzip',
  'application/vnd.docker.image.rootfs.diff.tar.zstd',
  'application/vnd.docker.image.rootfs.foreign.diff.tar',
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
]

/** A list of manifests, one per platform. */
export function isIndexType(mediaType: string): boolean {
  return INDEXES.includes(mediaType)
}

/** The manifest of one image. */
export function isManifestType(mediaType: string): boolean {
  return MANIFESTS.includes(mediaType)
}

/** A manifest of Docker's schema 1, which is not read. */
export function isSchema1Type(mediaType: string): boolean {
  return SCHEMA_1.includes(mediaType)
}

/** The config of an image that can run; the config of an artifact has another type. */
export function isConfigType(mediaType: string): boolean {
  return CONFIGS.includes(mediaType)
}

/** A tar archive, however compressed: what compressed it is told by its first bytes, as the name is often wrong. */
export function isLayerType(mediaType: string): boolean {
  return LAYERS.includes(mediaType)
}

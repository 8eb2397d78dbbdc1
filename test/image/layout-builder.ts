/** Makes OCI image layouts for tests, byte by byte. */
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST } from '../../src/oci/media-types.ts'

export type Compression = 'none' | 'gzip' | 'zstd'

/** A descriptor as it is written. */
export interface WireDescriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>>
  readonly platform?: Readonly<Record<string, unknown>>
}

const COMPRESS: Readonly<Record<Compression, (bytes: Uint8Array) => Uint8Array>> = {
  none: bytes => bytes,
  gzip: bytes => gzipSync(bytes),
  zstd: bytes => zstdCompressSync(bytes),
}

/** The digest of bytes, as descriptors have it. */
export function sha256(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** A layout directory that is being filled. */
export class LayoutBuilder {
  readonly path: string

  constructor(path: string) {
    this.path = path
    mkdirSync(join(path, 'blobs/sha256'), { recursive: true })
    writeFileSync(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  }

  blob(content: Uint8Array | string, mediaType: string): WireDescriptor {
    const digest = sha256(content)
    writeFileSync(join(this.path, 'blobs', digest.replace(':', '/')), content)
    return { mediaType, digest, size: Buffer.byteLength(content) }
  }

  json(document: unknown, mediaType: string): WireDescriptor {
    return this.blob(JSON.stringify(document), mediaType)
  }

  /** An image of these layers, the lowest first; its manifest's descriptor. `blobs` replaces what they compress to. */
  image(
    tars: readonly Uint8Array[],
    {
      compression = 'gzip' as Compression,
      config = {},
      platform = {},
      diffIds = tars.map(sha256),
      blobs = [] as readonly Uint8Array[],
    } = {},
  ): WireDescriptor {
    const suffix = compression === 'none' ? '' : `+${compression}`
    const layers = tars.map((tar, index) =>
      this.blob(blobs[index] ?? COMPRESS[compression](tar), `${OCI_LAYER}${suffix}`),
    )
    const rootfs = { type: 'layers', diff_ids: diffIds }
    const document = { architecture: 'amd64', os: 'linux', ...platform, config, rootfs }
    const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: this.json(document, OCI_CONFIG), layers }
    return this.json(manifest, OCI_MANIFEST)
  }

  /** Writes index.json. */
  finish(...manifests: readonly WireDescriptor[]): string {
    writeFileSync(join(this.path, 'index.json'), JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }))
    return this.path
  }
}

/** The descriptor with a tag. */
export function tagged(descriptor: WireDescriptor, tag: string): WireDescriptor {
  return { ...descriptor, annotations: { 'org.opencontainers.image.ref.name': tag } }
}

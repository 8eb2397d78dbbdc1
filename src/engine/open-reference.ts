import { foreignArchitectureProblem } from '../host/foreign-architecture.ts'
import { lookUpImage } from '../image/find-image.ts'
import { putOnHost } from '../image/host-image.ts'
import type { RunnableImage } from '../image/image.ts'
import { type ImageManifest, type ImageRecord, ownManifest } from '../image/image-record.ts'
import { ImageRecords } from '../image/image-records.ts'
import { manifestFor, openStoredImage } from '../image/stored-image.ts'
import { BerthError } from '../lib/error.ts'
import { linuxPlatform, type Platform, parsePlatform, platformDistance, printPlatform } from '../oci/platform.ts'
import { readPolicyFile } from '../security/trust/trust-files.ts'
import type { ImageSource } from './container-options.ts'
import type { ImageEngine } from './image-engine.ts'

type Stored = Extract<ImageSource, { readonly kind: 'stored' }>

interface Chosen {
  readonly image: ImageRecord
  readonly manifest: ImageManifest
}

/**
 * Opens an image of the store to run it, and pulls it before where it is missing or `--pull` says so. What pulls is loaded only then.
 * @throws {BerthError} notFound: it is not to be had; unavailable: this machine can't run its programs
 */
export async function openReference(source: Stored, engine: ImageEngine): Promise<RunnableImage> {
  const records = new ImageRecords(engine.database.sqlite)
  const { image, manifest } =
    (source.pull === 'always' ? null : choose(source, records)) ?? (await pull(source, engine))
  checkRunnable(source.text, parsePlatform(manifest.platform))
  await checkTrust(source.text, { image, manifest }, records, engine)
  const opened = await openStoredImage(source.text, image, manifest, engine.roots.data, { warn: engine.warn })
  return records.isOnHost(image.digest) ? putOnHost(opened, engine.roots.data) : opened
}

/** A policy may have changed since the pull. What judges is loaded only where there is one. */
async function checkTrust(
  text: string,
  { image, manifest }: Chosen,
  records: ImageRecords,
  { roots, database }: ImageEngine,
): Promise<void> {
  if (readPolicyFile(roots.policy) === null) return
  const { ImageTrust } = await import('./image-trust.ts')
  const name = lookUpImage(text, records)?.name ?? null
  const which = { image: image.digest, manifest: manifest.digest }
  await ImageTrust.open({ roots, database }).checkRun(which, name, text)
}

function choose({ text, platform }: Stored, records: ImageRecords): Chosen | null {
  const found = lookUpImage(text, records)
  if (found === null) return null
  const { image } = found
  if (found.manifest !== null) {
    if (platform === null || platformDistance(platform, parsePlatform(found.manifest.platform)) !== null)
      return { image, manifest: found.manifest }
    throw new BerthError(
      'notFound',
      `Cannot run image "${text}": it is for ${found.manifest.platform}, expected ${printPlatform(platform)}`,
    )
  }
  const fitting = manifestFor(image, platform ?? linuxPlatform(process.arch))
  if (fitting !== null) return { image, manifest: fitting }
  // One that is for another platform only: pulling it again would bring the same.
  const own = ownManifest(image)
  return platform === null && own?.digest === image.digest ? { image, manifest: own } : null
}

async function pull(source: Stored, engine: ImageEngine): Promise<Chosen> {
  const { text, platform } = source
  if (source.pull === 'never')
    throw new BerthError(
      'notFound',
      `Cannot run image "${text}": it is not in the store${platform === null ? '' : ` for ${printPlatform(platform)}`}, and --pull=never`,
    )
  const { pullToRun } = await import('./pull-to-run.ts')
  return await pullToRun(text, platform, engine)
}

function checkRunnable(text: string, { os, architecture }: Platform): void {
  if (os !== 'linux')
    throw new BerthError('notImplemented', `Cannot run image "${text}": it is for ${os}, expected linux`)
  const problem = foreignArchitectureProblem(architecture)
  if (problem === null) return
  throw new BerthError('unavailable', `Cannot run image "${text}": it is for ${os}/${architecture}, and ${problem}`)
}

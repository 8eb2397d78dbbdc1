import { readFileSync, statSync } from 'node:fs'
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { object, parseJson, required, type Shape, text } from '../lib/json-shape.ts'
import { type LayerFacts, layerFacts } from './layer-job.ts'

/**
 * `layer.json` beside a layer's tree. A layer becomes visible by a rename, and the kernel may write that rename to the disk
 * before the content of the files: after a loss of power a layer could be there with files full of zeros. To wait for the
 * disk at each layer would cost more than unpacking it, so a layer first counts for the boot in which it was made only: in another one
 * it is unpacked again, from a blob that was on the disk before its image was there. {@link keepLayer} makes it count for ever, when
 * all of the filesystem has been synchronised.
 */
interface LayerRecord {
  readonly facts: LayerFacts
  /** The boot in which the layer was unpacked; absent: it is on the disk. */
  readonly bootId?: string
}

export const LAYER_RECORD = 'layer.json'
const record: Shape<LayerRecord> = object<LayerRecord>({ facts: required(layerFacts), bootId: text })

/** Writes the record of a layer that was just unpacked into its directory. */
export async function writeLayerRecord(directory: string, facts: LayerFacts): Promise<void> {
  await write(join(directory, LAYER_RECORD), { facts, bootId: currentBoot() })
}

/**
 * The facts of the layer in a directory; null when it is not there, or may have been cut off by a loss of power.
 * @throws {BerthError} invalidArgument: the record is damaged
 */
export function readLayerFacts(directory: string): LayerFacts | null {
  const found = readRecord(directory)
  return found === null || (found.bootId !== undefined && found.bootId !== currentBoot()) ? null : found.facts
}

/** When the layer in a directory was unpacked, in milliseconds since 1970, if {@link keepLayer} has something to do for it; else null. */
export function unkeptSince(directory: string): number | null {
  const found = readRecord(directory)
  if (found?.bootId !== currentBoot()) return null
  return statSync(join(directory, LAYER_RECORD), { throwIfNoEntry: false })?.mtimeMs ?? null
}

/**
 * Notes that the layer in a directory is on the disk, which the caller has seen to. `temporary` is a path on the same filesystem that
 * nobody else uses: many may keep the same layer at once.
 */
export async function keepLayer(directory: string, temporary: string): Promise<void> {
  const found = readRecord(directory)
  if (found?.bootId !== currentBoot()) return
  try {
    // Should the new record not reach the disk, the old one is there: then the layer is unpacked again, which is safe.
    await write(temporary, { facts: found.facts })
    await rename(temporary, join(directory, LAYER_RECORD))
  } finally {
    await rm(temporary, { force: true })
  }
}

function readRecord(directory: string): LayerRecord | null {
  const path = join(directory, LAYER_RECORD)
  try {
    // It is a hundred bytes: to hand it to another thread takes longer than to read it.
    const content = readFileSync(path, 'utf8')
    return isCutOff(content) ? null : parseJson(content, path, record).value
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/** What filesystems leave of a file whose name reached the disk before its content: nothing (ext4), or zeros (xfs). */
function isCutOff(content: string): boolean {
  return content === '' || content.startsWith('\0')
}

async function write(path: string, value: LayerRecord): Promise<void> {
  await writeFile(path, `${JSON.stringify(value)}\n`)
}

let boot: string | undefined

/** Differs each time the machine starts: /proc/sys/kernel/random/boot_id, random(4). */
function currentBoot(): string {
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  return boot
}

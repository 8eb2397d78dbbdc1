import { read, writeSync } from 'node:fs'
import { promisify } from 'node:util'
import { BerthError, messageOf } from '../lib/error.ts'
import { TarParser } from '../lib/tar/parser.ts'
import { digestAlgorithm, parseDigest } from '../oci/digest.ts'
import { StepError } from '../plan/step-error.ts'
import { decompress } from './decompress.ts'
import { LayerComposer } from './layer-composer.ts'
import { FRAME_HEADER_BYTES, type LayerFacts, type LayerJob, type LayerReport, parseLayerJob } from './layer-job.ts'
import { DirectoryTarget, type UnpackTarget } from './unpack-target.ts'

const STDIN = 0
const STDOUT = 1
/** What a socket holds at most by default: a read seldom gets more. */
const READ_BYTES = 208 * 1024
/** Jobs are small: a path, a digest, four numbers. */
const JOB_LIMIT_BYTES = 64 * 1024
/** Code is compiled when it has run ten times as long as by default: most layers end before that pays. The program's own is for commands. */
const JIT_POLICY = 10

const readFd = promisify(read)

/**
 * The process that unpacks layers for {@link LayerStore}, one after another, until its stdin ends. Its status is its result.
 * It is a process of its own so that the event loop of who wants layers stays free, a layer that makes a decompressor crash
 * or the memory grow ends only its own unpacking, and cancelling is a kill.
 */
export async function runLayerWorker(): Promise<number> {
  // Bun 1.4.5 has it, its types do not.
  const { setJITPolicy } = Bun.unsafe as { readonly setJITPolicy?: (scale: number) => void }
  setJITPolicy?.(JIT_POLICY)
  const input = new FrameInput()
  for (;;) {
    const line = await input.job()
    if (line === null) return 0
    try {
      const facts = await unpackLayer(parseLayerJob(line), input.blob())
      tell({ kind: 'done', facts })
    } catch (error) {
      const category = error instanceof BerthError ? error.category : 'internal'
      const errno = error instanceof StepError ? error.errno : undefined
      tell({ kind: 'failed', category, message: messageOf(error), ...(errno !== undefined && { errno }) })
      return 1
    }
  }
}

function tell(report: LayerReport): void {
  const line = Buffer.from(`${JSON.stringify(report)}\n`)
  for (let at = 0; at < line.length; ) at += writeSync(STDOUT, line, at)
}

/** Reads, decides, hands over, and verifies: the archive never is in memory as a whole. */
async function unpackLayer(job: LayerJob, blob: AsyncGenerator<Uint8Array>): Promise<LayerFacts> {
  await using target = await openTarget(job)
  // A full disk is news also while the rest of the blob is on its way.
  return await Promise.race([unpackThrough(target, job, blob), target.failure])
}

async function openTarget({ form, target, diffId }: LayerJob): Promise<UnpackTarget> {
  if (form === 'directory') return new DirectoryTarget(target)
  return new (await import('./erofs/image-target.ts')).ImageTarget(target, parseDigest(diffId))
}

async function unpackThrough(
  target: UnpackTarget,
  job: LayerJob,
  blob: AsyncGenerator<Uint8Array>,
): Promise<LayerFacts> {
  const diffId = parseDigest(job.diffId)
  const hasher = new Bun.CryptoHasher(digestAlgorithm(diffId))
  const composer = new LayerComposer(target.sink, job.limits, message => tell({ kind: 'warn', message }))
  const parser = new TarParser(composer)
  for await (const piece of decompress(blob, job.limits)) {
    hasher.update(piece)
    parser.push(piece)
    await target.advance()
  }
  parser.finish()
  const actual = `${digestAlgorithm(diffId)}:${hasher.digest('hex')}`
  if (actual !== diffId) {
    throw new BerthError('invalidArgument', `Cannot verify the layer: its content has the digest ${actual}`)
  }
  for (const _ of composer.finish()) await target.advance()
  const diskBytes = await target.finish()
  // A decompressor may end before the blob does; the next job comes after the whole of it.
  for await (const _ of blob);
  const { isRootOpaque: isOpaque, entryCount, contentBytes } = composer
  return { form: job.form, isOpaque, entryCount, contentBytes, diskBytes }
}

/** Takes jobs and pieces of blobs out of what comes over stdin. */
class FrameInput {
  #bytes: Uint8Array = new Uint8Array(0)

  /** The next job; null when there are no more. */
  async job(): Promise<string | null> {
    const length = await this.#header()
    if (length === null) return null
    if (length > JOB_LIMIT_BYTES) throw new BerthError('internal', `Cannot read the job of a layer: ${length} bytes`)
    const line = await this.#exactly(length)
    if (line === null) throw cutOff()
    return Buffer.from(line).toString()
  }

  /** The pieces of the blob that follows the job, as they come. */
  async *blob(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const length = await this.#header()
      if (length === null) throw cutOff()
      if (length === 0) return
      for (let left = length; left > 0; ) {
        if (this.#bytes.length === 0 && !(await this.#more())) throw cutOff()
        const piece = this.#bytes.subarray(0, left)
        this.#bytes = this.#bytes.subarray(piece.length)
        left -= piece.length
        yield piece
      }
    }
  }

  async #header(): Promise<number | null> {
    const header = await this.#exactly(FRAME_HEADER_BYTES)
    return header === null ? null : new DataView(header.buffer, header.byteOffset).getUint32(0, true)
  }

  async #exactly(length: number): Promise<Uint8Array | null> {
    while (this.#bytes.length < length) if (!(await this.#more())) return null
    const taken = this.#bytes.subarray(0, length)
    this.#bytes = this.#bytes.subarray(length)
    return taken
  }

  async #more(): Promise<boolean> {
    const buffer = Buffer.allocUnsafe(READ_BYTES)
    const { bytesRead } = await readFd(STDIN, buffer, 0, READ_BYTES, null)
    const got = buffer.subarray(0, bytesRead)
    this.#bytes = this.#bytes.length === 0 ? got : Buffer.concat([this.#bytes, got])
    return bytesRead > 0
  }
}

function cutOff(): BerthError {
  return new BerthError('cancelled', 'Cannot unpack the layer: nobody waits for it any more')
}

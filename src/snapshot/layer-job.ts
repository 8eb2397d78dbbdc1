/**
 * What LayerStore and the process that unpacks for it say to each other.
 *
 *     store ──fd 0──▶ process    { u32 bytes, job }  { u32 bytes, piece of the blob }…  { u32 0 }   and the next job
 *     store ◀──fd 1── process    { "kind": "warn" }…  { "kind": "done" } or { "kind": "failed" }    a line each
 *
 * Numbers are little-endian. A process that failed ends: what of the blob is still on its way means nothing to it.
 */
import { BerthError, type ErrorCategory } from '../lib/error.ts'
import { flag, integer, object, oneOf, parseJson, required, type Shape, shapeError, text } from '../lib/json-shape.ts'
import type { UnpackLimits } from './unpack-limits.ts'

/** What a layer becomes: see layer-store.ts. */
export type LayerForm = 'directory' | 'erofs'

/** What is found out about a layer while it is unpacked. */
export interface LayerFacts {
  /** Absent: a directory. */
  readonly form?: LayerForm
  /** It hides all of the layers below it: there is an opaque whiteout in its root. */
  readonly isOpaque: boolean
  readonly entryCount: number
  /** The sizes of its files, holes included. */
  readonly contentBytes: number
  /** What it takes on the disk, as du counts: blocks of files (once for all hard links) and directories. */
  readonly diskBytes: number
}

/** One layer to unpack. */
export interface LayerJob {
  readonly form: LayerForm
  /** Absolute path of an empty directory, or of an image that is not there. */
  readonly target: string
  readonly diffId: string
  readonly limits: UnpackLimits
}

/** What the process tells. */
export type LayerReport =
  | { readonly kind: 'warn'; readonly message: string }
  | { readonly kind: 'done'; readonly facts: LayerFacts }
  | {
      readonly kind: 'failed'
      readonly category: ErrorCategory
      readonly message: string
      /** `ENOSPC`: what the kernel said, when it was the kernel. */
      readonly errno?: string
    }

/** A layer could not be unpacked in the process for it. */
export class UnpackError extends BerthError {
  override readonly name = 'UnpackError'
  /** Kernel spelling: `ENOSPC`; null: it was no system call that failed. */
  readonly errno: string | null

  constructor(category: ErrorCategory, message: string, errno: string | null) {
    super(category, message)
    this.errno = errno
  }
}

const count = required(integer(0, Number.MAX_SAFE_INTEGER))

const FORMS = ['directory', 'erofs'] as const satisfies readonly LayerForm[]

/** The facts in a JSON document. */
export const layerFacts: Shape<LayerFacts> = object<LayerFacts>({
  form: oneOf(FORMS),
  isOpaque: required(flag),
  entryCount: count,
  contentBytes: count,
  diskBytes: count,
})

const job = object<LayerJob>({
  form: required(oneOf(FORMS)),
  target: required(text),
  diffId: required(text),
  limits: required(object<UnpackLimits>({ bytes: count, ratio: count, ratioFloorBytes: count, entries: count })),
})

const CATEGORIES = [
  'notFound',
  'invalidArgument',
  'conflict',
  'unavailable',
  'unauthorized',
  'forbidden',
  'notImplemented',
  'cancelled',
  'internal',
] as const satisfies readonly ErrorCategory[]

const warn = object<LayerReport & { kind: 'warn' }>({ kind: required(oneOf(['warn'])), message: required(text) })
const done = object<LayerReport & { kind: 'done' }>({ kind: required(oneOf(['done'])), facts: required(layerFacts) })
const failed = object<LayerReport & { kind: 'failed' }>({
  kind: required(oneOf(['failed'])),
  category: required(oneOf(CATEGORIES)),
  message: required(text),
  errno: text,
})

const report: Shape<LayerReport> = (value, place) => {
  const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : null
  if (kind === 'warn') return warn(value, place)
  if (kind === 'done') return done(value, place)
  if (kind === 'failed') return failed(value, place)
  throw shapeError(kind, place, 'a kind of report')
}

/** Reads a job. @throws {BerthError} invalidArgument */
export function parseLayerJob(line: string): LayerJob {
  return parseJson(line, 'the job of a layer', job).value
}

/** Reads a report. @throws {BerthError} invalidArgument */
export function parseLayerReport(line: string): LayerReport {
  return parseJson(line, 'the report about a layer', report).value
}

/** The length in front of a job or a piece; of 0 bytes it is the end of a blob. */
export function frameHeader(bytes: number): Uint8Array {
  const header = new Uint8Array(FRAME_HEADER_BYTES)
  new DataView(header.buffer).setUint32(0, bytes, true)
  return header
}

/** The size of {@link frameHeader}. */
export const FRAME_HEADER_BYTES = 4

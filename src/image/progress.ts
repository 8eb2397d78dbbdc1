/** What is going on with a part of an image: a layer, a config. */
export type ProgressKind =
  | 'waiting'
  | 'downloading'
  | 'extracting'
  | 'loading'
  | 'pulled'
  | 'exists'
  | 'uploading'
  | 'mounted'
  | 'pushed'

/** A step of a pull, a push or a load, for whoever shows it. There may be thousands a second: who draws decides when. */
export interface ProgressEvent {
  /** Short name of the part: the first 12 digits of its digest. */
  readonly id: string
  readonly kind: ProgressKind
  readonly currentBytes: number
  /** 0: not known. */
  readonly totalBytes: number
}

/** Told of every step. */
export type OnProgress = (event: ProgressEvent) => void

const ID_DIGITS = 12

/** The name that a digest has in progress events. */
export function progressId(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1).slice(0, ID_DIGITS)
}

/** What a layer may be before it is taken for an attack on the disk or the memory. All of them can be raised; they are whole numbers. */
export interface UnpackLimits {
  /** The archive uncompressed, and also the sum of its files' sizes with their holes. */
  readonly bytes: number
  /** Uncompressed bytes per compressed byte, once more than `ratioFloorBytes` came out. */
  readonly ratio: number
  readonly ratioFloorBytes: number
  readonly entries: number
}

/**
 * Far above what images hold, far below what harms: the largest layers in use (models, SDKs) have some 50 GB and one to two
 * million files; programs and data compress 2 to 20 times, while zeros compress 1,000 times with gzip and far more with zstd.
 */
export const DEFAULT_UNPACK_LIMITS: UnpackLimits = Object.freeze({
  bytes: 256 * 1024 ** 3,
  ratio: 200,
  ratioFloorBytes: 256 * 1024 ** 2,
  entries: 4_000_000,
})

/** st_blocks counts in these, whatever the filesystem's are: stat(2). */
const BLOCK_BYTES = 512

/** What a file takes of the disk, as `du` counts it: of one with holes less than its size. */
export function diskBytes({ blocks }: { readonly blocks: number }): number {
  return blocks * BLOCK_BYTES
}

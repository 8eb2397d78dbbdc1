import type { Segment } from '../lib/tar/header.ts'
import type { TreeSink } from './pack-process.ts'
import type { TreeEntry } from './tree-entry.ts'

/** What fuse-overlayfs puts into a directory that hides others, besides the attribute that says the same: containers see neither. */
const MARKS: ReadonlySet<string> = new Set(['.wh..wh..opq', '.wh..opq'])

/** A sink for the upper directory of fuse-overlayfs: its marks are left out. */
export class WithoutFuseMarks implements TreeSink {
  readonly #sink: TreeSink
  #isMark = false

  constructor(sink: TreeSink) {
    this.#sink = sink
  }

  get isFull(): boolean {
    return this.#sink.isFull
  }

  entry(entry: TreeEntry): void {
    this.#isMark = MARKS.has(entry.path.slice(entry.path.lastIndexOf('/') + 1))
    if (!this.#isMark) this.#sink.entry(entry)
  }

  segment(segment: Segment): void {
    if (!this.#isMark) this.#sink.segment(segment)
  }

  data(bytes: Uint8Array): void {
    if (!this.#isMark) this.#sink.data(bytes)
  }

  missing(bytes: number): void {
    if (!this.#isMark) this.#sink.missing(bytes)
  }

  end(isWhole: boolean): void {
    if (!this.#isMark) this.#sink.end(isWhole)
  }

  async drain(): Promise<void> {
    await this.#sink.drain()
  }
}

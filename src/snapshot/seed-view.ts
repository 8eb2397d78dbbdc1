import { overlayMark } from './overlay-marks.ts'
import { readTree, type TreeSink } from './pack-process.ts'
import { type FileFacts, isDirectory, type TreeEntry } from './tree-entry.ts'

interface Place {
  /** Null: a whiteout. */
  readonly facts: FileFacts | null
  /** Nothing of lower layers is seen in it. */
  readonly isEnd: boolean
}

/**
 * A layer that a container's upper directory began with, and that its own changes are changes of. It is held in memory, some 500 bytes for
 * each of its entries.
 */
export class SeedView implements TreeSink {
  readonly isFull = false
  readonly #places = new Map<string, Place>()

  /** @throws {StepError} it can't be read */
  static async read(path: string, signal?: AbortSignal): Promise<SeedView> {
    const view = new SeedView()
    await readTree({ root: { kind: 'directory', path }, lowers: [], withContent: false }, view, signal)
    return view
  }

  /** What was seen at a path when the container was made; `machine` is what the machine has there and is not hidden. */
  at(path: string, machine: FileFacts | null): FileFacts | null {
    const place = this.#places.get(path)
    if (place !== undefined) return place.facts
    return this.hides(parentOf(path)) ? null : machine
  }

  /** Whether nothing is seen of what the machine has in a directory. */
  hides(directory: string): boolean {
    for (let at = directory; at !== ''; at = parentOf(at)) if (this.#places.get(at)?.isEnd === true) return true
    return false
  }

  /** Whether it removes what the machine has at a path. */
  removes(path: string): boolean {
    return this.#places.get(path)?.facts === null
  }

  /** Its paths that are not in `seen`, of which the directories they were in are, by its value: the topmost ones of what is gone. */
  gone(seen: ReadonlyMap<string, 'directory' | 'other'>): readonly string[] {
    return [...this.#places].flatMap(([path, { facts }]) =>
      facts !== null && !seen.has(path) && seen.get(parentOf(path)) === 'directory' ? [path] : [],
    )
  }

  entry(entry: TreeEntry): void {
    if (entry.path === '') return
    const { mode, uid, gid, major, minor, mtime, sizeBytes, xattrs } = entry
    const mark = overlayMark(entry)
    this.#places.set(entry.path, {
      facts: mark === 'whiteout' ? null : { mode, uid, gid, major, minor, mtime, sizeBytes, xattrs },
      isEnd: mark === 'opaque' || !isDirectory(entry),
    })
  }

  segment(): void {}
  data(): void {}
  missing(): void {}
  end(): void {}
  async drain(): Promise<void> {}
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0))
}

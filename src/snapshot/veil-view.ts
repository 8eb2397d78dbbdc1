/**
 * A path at which something was put into a container's upper directory that is no change of its own: to hide what its layers have
 * (`hidden`), to show a directory `empty`, the `parent` directories of these, or for the runtime to `mount` something there.
 */
export interface VeilPath {
  readonly kind: 'parent' | 'empty' | 'hidden' | 'mount'
  /** Absolute inside the container. */
  readonly path: string
  readonly mode: number
}

/** What of a container's upper directory was put there for it. */
export class VeilView {
  readonly #entries: ReadonlyMap<string, VeilPath>
  readonly #covering: readonly string[]

  constructor(entries: readonly VeilPath[]) {
    this.#entries = new Map(entries.map(entry => [toBytes(entry.path), entry]))
    this.#covering = entries
      .filter(({ kind }) => kind === 'empty' || kind === 'hidden')
      .map(({ path }) => toBytes(path))
  }

  /** What the veil put at a path (a byte string without a slash in front); null: nothing. */
  find(path: string): VeilPath['kind'] | null {
    return this.#entries.get(path)?.kind ?? null
  }

  /** The mode of the directory that was made at a path. */
  modeOf(path: string): number | null {
    return this.#entries.get(path)?.mode ?? null
  }

  /** Whether the container sees at a path what its layers have there, and not the veil. */
  shows(path: string): boolean {
    if (this.#entries.size === 0) return true
    return !this.#covering.some(each => path.startsWith(`${each}/`)) && this.find(path) !== 'hidden'
  }

  /** Whether it sees in a directory what the layers have in it. */
  showsBelow(path: string): boolean {
    return this.shows(path) && this.find(path) !== 'empty'
  }
}

function toBytes(path: string): string {
  return Buffer.from(path.slice(1)).toString('latin1')
}

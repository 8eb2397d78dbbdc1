/** A path that was hidden from a container, or shown empty, by putting something into its upper directory. */
export interface VeilPath {
  readonly kind: 'parent' | 'empty' | 'hidden'
  /** Absolute inside the container. */
  readonly path: string
  readonly mode: number
}

/** What of a container's upper directory is there because its layers are seen through a veil. */
export class VeilView {
  readonly #entries: ReadonlyMap<string, VeilPath>
  readonly #covering: readonly string[]

  constructor(entries: readonly VeilPath[]) {
    this.#entries = new Map(entries.map(entry => [toBytes(entry.path), entry]))
    this.#covering = entries.filter(({ kind }) => kind !== 'parent').map(({ path }) => toBytes(path))
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

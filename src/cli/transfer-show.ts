import type { OnProgress, ProgressEvent, ProgressKind } from '../image/progress.ts'

/** Where a transfer is shown: a terminal with its size, or a pipe. */
export interface ShowTarget {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
  write(text: string): unknown
}

/** Docker's words, as those of `docker pull` and `docker push`. */
const WORDS: Readonly<Record<'pull' | 'push', Readonly<Record<ProgressKind, string>>>> = {
  pull: {
    waiting: 'Pulling fs layer',
    downloading: 'Downloading',
    extracting: 'Extracting',
    pulled: 'Pull complete',
    exists: 'Already exists',
    uploading: 'Pushing',
    mounted: 'Mounted',
    pushed: 'Pushed',
  },
  push: {
    waiting: 'Preparing',
    downloading: 'Downloading',
    extracting: 'Extracting',
    pulled: 'Pull complete',
    exists: 'Layer already exists',
    uploading: 'Pushing',
    mounted: 'Mounted from another repository',
    pushed: 'Pushed',
  },
}
const WITH_BAR: readonly ProgressKind[] = ['downloading', 'uploading']
const ENDED: readonly ProgressKind[] = ['pulled', 'exists', 'mounted', 'pushed']

/** Ten pictures a second look steady, and cost a slow terminal little. */
const REDRAW_MS = 100
const BAR_COLUMNS = 50
/** Narrower than that a bar tells nothing. */
const LEAST_BAR_COLUMNS = 8
const DEFAULT_COLUMNS = 80
const DEFAULT_ROWS = 24
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const

/**
 * Shows the parts of an image on their way: on a terminal a line each with a bar, drawn again in place; elsewhere a line for each
 * change. Nothing of what it shows is a stranger's text.
 */
export class TransferShow implements Disposable {
  readonly #target: ShowTarget
  readonly #words: Readonly<Record<ProgressKind, string>>
  readonly #parts = new Map<string, ProgressEvent>()
  #drawn: readonly string[] = []
  #timer: ReturnType<typeof setTimeout> | null = null

  constructor(target: ShowTarget, direction: 'pull' | 'push') {
    this.#target = target
    this.#words = WORDS[direction]
  }

  readonly onProgress: OnProgress = event => {
    const before = this.#parts.get(event.id)
    this.#parts.set(event.id, event)
    if (this.#target.isTTY === true) {
      this.#timer ??= setTimeout(() => this.#redraw(), REDRAW_MS)
    } else if (before?.kind !== event.kind) {
      this.#target.write(`${event.id}: ${this.#words[event.kind]}\n`)
    }
  };

  /** The last picture stays. */
  [Symbol.dispose](): void {
    if (this.#timer !== null) this.#redraw()
  }

  #redraw(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const { columns = DEFAULT_COLUMNS, rows = DEFAULT_ROWS } = this.#target
    // A terminal that has become narrower has broken the lines that were drawn.
    const height = this.#drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / columns)), 0)
    const lines = this.#lines(columns, rows)
    const up = height === 0 ? '' : `\x1b[${height}A`
    this.#target.write(`${up}\x1b[J${lines.map(line => `${line}\n`).join('')}`)
    this.#drawn = lines
  }

  /** At most what the terminal shows at once: what has left it at the top can't be drawn again. */
  #lines(columns: number, rows: number): readonly string[] {
    const all = [...this.#parts.values()]
    const room = Math.max(1, rows - 2)
    // The last column stays free: some terminals go on to the next line after it.
    const line = (event: ProgressEvent): string => partLine(event, this.#words[event.kind], columns - 1)
    if (all.length <= room + 1) return all.map(line)
    const active = all.filter(({ kind }) => !ENDED.includes(kind)).sort((a, b) => rank(a) - rank(b))
    const shown = active.slice(0, room)
    const endedCount = all.length - active.length
    const rest = `${endedCount} of ${all.length} done, ${active.length - shown.length} more to come`
    return [...shown.map(line), rest.slice(0, columns - 1)]
  }
}

/** Those on their way before those that wait. */
function rank({ kind }: ProgressEvent): number {
  return kind === 'waiting' ? 1 : 0
}

function partLine({ id, kind, currentBytes, totalBytes }: ProgressEvent, word: string, columns: number): string {
  const start = `${id}: ${word}`
  if (!WITH_BAR.includes(kind)) return start.slice(0, columns)
  const sizes = totalBytes > 0 ? `${shortSize(currentBytes)}/${shortSize(totalBytes)}` : shortSize(currentBytes)
  // Three more for the brackets and the blanks around the bar, and one before the sizes.
  const room = Math.min(BAR_COLUMNS, columns - start.length - sizes.length - 4)
  if (room < LEAST_BAR_COLUMNS || totalBytes === 0) return `${start} ${sizes}`.slice(0, columns)
  const filled = Math.min(room, Math.floor((currentBytes / totalBytes) * room))
  const bar = filled === room ? '='.repeat(room) : `${'='.repeat(filled)}>`.padEnd(room)
  return `${start} [${bar}] ${sizes}`
}

/** Three digits and a unit of powers of 1000, as docker prints sizes: `1.23MB`, `45kB`. */
function shortSize(bytes: number): string {
  let value = bytes
  let unit = 0
  for (; value >= 1000 && unit < UNITS.length - 1; unit++) value /= 1000
  return `${Number(value.toPrecision(3))}${UNITS[unit]}`
}

import type { OnProgress, ProgressEvent, ProgressKind } from '../image/progress.ts'
import { printable } from './table.ts'

/** Where a transfer is shown: a terminal with its size, or a pipe. */
export interface ShowTarget {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
  write(text: string): unknown
}

/** Docker's words, as those of `docker pull`, `docker push` and `docker load`. */
const WORDS: Readonly<Record<'pull' | 'push', Readonly<Record<ProgressKind, string>>>> = {
  pull: {
    waiting: 'Pulling fs layer',
    downloading: 'Downloading',
    extracting: 'Extracting',
    loading: 'Loading',
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
    loading: 'Loading',
    pulled: 'Pull complete',
    exists: 'Layer already exists',
    uploading: 'Pushing',
    mounted: 'Mounted from another repository',
    pushed: 'Pushed',
  },
}
const WITH_BAR: readonly ProgressKind[] = ['downloading', 'uploading', 'loading']
const ENDED: readonly ProgressKind[] = ['pulled', 'exists', 'mounted', 'pushed']

/** Ten pictures a second look steady, and cost a slow terminal little. */
const REDRAW_MS = 100
const BAR_COLUMNS = 50
/** Narrower than that a bar tells nothing. */
const LEAST_BAR_COLUMNS = 8
const DEFAULT_COLUMNS = 80
const DEFAULT_ROWS = 24
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const

/** The one that is drawn on the terminal now. */
let drawing: TransferShow | null = null

/** Prints a line on standard output, without disturbing what is drawn there. */
export function sayBeside(line: string): void {
  beside(() => console.log(line))
}

/** Prints a warning on standard error, without disturbing what is drawn there. Control characters of it are shown as such. */
export function warnBeside(message: string): void {
  beside(() => console.error(`berth: warning: ${printable(message)}`))
}

function beside(write: () => void): void {
  if (drawing === null) write()
  else drawing.aside(write)
}

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
  #hasEnded = false

  constructor(target: ShowTarget, direction: 'pull' | 'push') {
    this.#target = target
    this.#words = WORDS[direction]
    if (target.isTTY === true) drawing = this
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
    this.#hasEnded = true
    if (drawing === this) drawing = null
  }

  /** Lets something be written to the same terminal: the picture goes on below it. */
  aside(write: () => void): void {
    if (this.#target.isTTY !== true || this.#hasEnded) {
      write()
      return
    }
    this.#target.write(this.#erasure(this.#size.columns))
    this.#drawn = []
    write()
    if (this.#parts.size > 0) this.#redraw()
  }

  /** Leads back to where the picture began, from the line below it. */
  #erasure(columns: number): string {
    // A terminal that has become narrower has broken the lines that were drawn.
    const height = this.#drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / columns)), 0)
    // What was typed meanwhile, ^C perhaps, stands in the line of the cursor.
    return `${height === 0 ? '' : `\r\x1b[${height}A`}\x1b[J`
  }

  /** Serial lines and some pseudoterminals say that they have no columns: they don't know. */
  get #size(): { readonly columns: number; readonly rows: number } {
    return { columns: this.#target.columns || DEFAULT_COLUMNS, rows: this.#target.rows || DEFAULT_ROWS }
  }

  #redraw(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const { columns, rows } = this.#size
    const lines = this.#lines(columns, rows)
    this.#target.write(`${this.#erasure(columns)}${lines.map(line => `${line}\n`).join('')}`)
    this.#drawn = lines
  }

  /** At most what the terminal shows at once: what has left it at the top can't be drawn again. */
  #lines(columns: number, rows: number): readonly string[] {
    const all = [...this.#parts.values()]
    const room = Math.max(1, rows - 2)
    // The last column stays free: some terminals go on to the next line after it.
    const line = (event: ProgressEvent): string => partLine(event, this.#words[event.kind], columns - 1)
    if (all.length <= room + 1) return all.map(line)
    const active = all.filter(each => !isEnded(each)).sort((a, b) => rank(a) - rank(b))
    const shown = active.slice(0, room)
    const endedCount = all.length - active.length
    const rest = `${endedCount} of ${all.length} done, ${active.length - shown.length} more to come`
    return [...shown.map(line), rest.slice(0, columns - 1)]
  }
}

/** Nothing follows the loading of a part. */
function isEnded({ kind, currentBytes, totalBytes }: ProgressEvent): boolean {
  return ENDED.includes(kind) || (kind === 'loading' && currentBytes === totalBytes)
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

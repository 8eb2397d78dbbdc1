/** Text tables as container tools print them: upper-case titles, columns parted by spaces, no lines. */

/** A column by its title. */
export interface Column {
  readonly title: string
  readonly align?: 'left' | 'right'
}

/** How a table is laid out. */
export interface TableOptions {
  /** Width of the terminal: longer lines lose the end of their last column. Absent or 0: no limit, for pipes and files. */
  readonly widthColumns?: number
  /** Titles in bold; for terminals only. */
  readonly bold?: boolean
}

const GAP = '   '
const ELLIPSIS = '…'

/**
 * Lays out a table; every line ends with a newline and none has trailing spaces. A row may be shorter than the columns.
 * Control characters in cells, which could steer a terminal, are shown as `\xNN`.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  options: TableOptions = {},
): string {
  const cells = rows.map(row => columns.map((_, index) => printable(row[index] ?? '')))
  const widths = columns.map((column, index) =>
    Math.max(Bun.stringWidth(column.title), ...cells.map(row => Bun.stringWidth(row[index] ?? ''))),
  )
  const line = (row: readonly string[]): string => {
    const padded = row.map((cell, index) => pad(cell, widths[index] ?? 0, columns[index]?.align ?? 'left'))
    return clip(padded.join(GAP).trimEnd(), options.widthColumns ?? 0)
  }
  const titles = line(columns.map(column => column.title))
  const head = options.bold === true ? `\x1b[1m${titles}\x1b[22m` : titles
  return `${[head, ...cells.map(line)].join('\n')}\n`
}

/** How to lay out for a terminal (`process.stdout`), or for whatever else standard output is. */
export function tableOptionsOf(stream: { readonly isTTY?: boolean; readonly columns?: number }): TableOptions {
  if (stream.isTTY !== true) return {}
  // https://no-color.org: any non-empty value means no styles.
  return { bold: (process.env['NO_COLOR'] ?? '') === '', widthColumns: stream.columns ?? 0 }
}

/** The text with control characters spelled out. */
export function printable(text: string): string {
  return text.replaceAll(/[\x00-\x1f\x7f-\x9f]/g, char => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
}

function pad(cell: string, width: number, align: 'left' | 'right'): string {
  const spaces = ' '.repeat(Math.max(0, width - Bun.stringWidth(cell)))
  return align === 'right' ? spaces + cell : cell + spaces
}

function clip(line: string, widthColumns: number): string {
  if (widthColumns === 0 || Bun.stringWidth(line) <= widthColumns) return line
  let kept = ''
  let width = 0
  for (const char of line) {
    width += Bun.stringWidth(char)
    if (width > widthColumns - 1) break
    kept += char
  }
  return kept + ELLIPSIS
}

import { Template } from '../lib/template/template.ts'
import type { Struct } from '../lib/template/value.ts'
import { formatTable, tableOptionsOf } from './table.ts'

/** A column of a listing: the field that templates name, and its title. */
export interface FormatColumn {
  readonly field: string
  readonly title: string
}

/** What can be listed, and how. */
export interface Listing {
  /** What errors call a row: `image`. */
  readonly typeName: string
  /** All fields of a row that have a title in tables. */
  readonly columns: readonly FormatColumn[]
  /** The fields of the table that is shown unless `--format` says otherwise. */
  readonly shown: readonly string[]
}

/** A row: its fields by name. */
export type ListingRow = Struct

/**
 * Rows as text, as docker's `--format` makes it: nothing or `table`: the usual table; `json`: an object per line; `table TEMPLATE`: a
 * table of its own, with titles; else the template once per row. `\t` and `\n` in it stand for a tab and a newline.
 * @throws {BerthError} invalidArgument: the template can't be used
 */
export function formatRows(
  rows: readonly ListingRow[],
  listing: Listing,
  format: string | undefined,
  stream: { readonly isTTY?: boolean; readonly columns?: number } = process.stdout,
): string {
  const text = (format ?? 'table').trim()
  if (text === 'json') return formatEach(rows, listing, '{{json .}}')
  if (text !== '' && text !== 'table' && !text.startsWith('table ')) return formatEach(rows, listing, text)
  const own = text.startsWith('table ') ? text.slice('table '.length).trim() : ''
  const template = own === '' ? listing.shown.map(field => `{{.${field}}}`).join('\\t') : own
  return tableOf(rows, listing, template, stream)
}

function formatEach(rows: readonly ListingRow[], { typeName }: Listing, text: string): string {
  const template = Template.parse(unescaped(text))
  return rows.map(row => `${template.execute(row, { typeName })}\n`).join('')
}

function tableOf(
  rows: readonly ListingRow[],
  { columns, typeName }: Listing,
  text: string,
  stream: { readonly isTTY?: boolean; readonly columns?: number },
): string {
  const template = Template.parse(unescaped(text))
  const header = template.executeForTitles(new Map(columns.map(({ field, title }) => [field, title])))
  const cells = rows.map(row => template.execute(row, { typeName }).split('\t'))
  const width = Math.max(header.split('\t').length, ...cells.map(row => row.length))
  const heads = header.split('\t')
  return formatTable(
    Array.from({ length: width }, (_, index) => ({ title: heads[index] ?? '' })),
    cells,
    tableOptionsOf(stream),
  )
}

function unescaped(text: string): string {
  return text.replaceAll('\\t', '\t').replaceAll('\\n', '\n')
}

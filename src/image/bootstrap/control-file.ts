/**
 * Debian's control files: stanzas of `Field: value`, parted by empty lines.
 * Source: deb822(5).
 */
import { BerthError } from '../../lib/error.ts'

/** One stanza: values by the field's name in lower case. A continued value keeps its line breaks and loses its indents. */
export type Stanza = ReadonlyMap<string, string>

/**
 * Parses one stanza; `name` is its name in errors.
 * @throws {BerthError} invalidArgument: a line is no field, or a field comes twice
 */
export function parseStanza(text: string, name: string): Stanza {
  const fields = new Map<string, string>()
  let last: string | null = null
  for (const line of text.split('\n')) {
    if (line.startsWith('#') || line.trim() === '') continue
    if (line.startsWith(' ') || line.startsWith('\t')) {
      if (last === null) throw damaged(name, line)
      fields.set(last, `${fields.get(last)}\n${line.trim()}`)
      continue
    }
    const colon = line.indexOf(':')
    const field = line.slice(0, Math.max(colon, 0)).toLowerCase()
    if (field === '' || /[\s\x7f]/.test(field) || fields.has(field)) throw damaged(name, line)
    fields.set(field, line.slice(colon + 1).trim())
    last = field
  }
  return fields
}

function damaged(name: string, line: string): BerthError {
  const shown = JSON.stringify(line.slice(0, 80))
  return new BerthError('invalidArgument', `Cannot read ${name}: the line ${shown} is no field, or one that was there`)
}

/** The stanzas of a file, as text: most of them are never looked into. */
export function* splitStanzas(text: string): Generator<string> {
  for (let from = 0; from < text.length; ) {
    const end = text.indexOf('\n\n', from)
    const stanza = text.slice(from, end < 0 ? text.length : end)
    if (stanza.trim() !== '') yield stanza
    from = end < 0 ? text.length : end + 2
  }
}

/** @throws {BerthError} invalidArgument: it has no such field */
export function requiredField(stanza: Stanza, field: string, name: string): string {
  const value = stanza.get(field.toLowerCase())
  if (value === undefined || value === '')
    throw new BerthError('invalidArgument', `Cannot read ${name}: it has no field ${field}`)
  return value
}

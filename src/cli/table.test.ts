import { describe, expect, test } from 'bun:test'
import { formatTable, tableOptionsOf } from './table.ts'

const COLUMNS = [{ title: 'NAME' }, { title: 'SIZE', align: 'right' as const }, { title: 'NOTE' }]

describe('formatTable()', () => {
  test('aligns columns and leaves no spaces at the ends of lines', () => {
    const rows = [['a', '5', 'x'], ['longer', '12345', ''], ['short']]
    expect(formatTable(COLUMNS, rows)).toBe(
      ['NAME      SIZE   NOTE', 'a            5   x', 'longer   12345', 'short', ''].join('\n'),
    )
  })

  test('shows the titles when there are no rows', () => {
    expect(formatTable(COLUMNS, [])).toBe('NAME   SIZE   NOTE\n')
  })

  test('counts wide characters as two columns', () => {
    expect(
      formatTable(
        [{ title: 'A' }, { title: 'B' }],
        [
          ['漢', 'x'],
          ['ab', 'y'],
        ],
      ),
    ).toBe('A    B\n漢   x\nab   y\n')
  })

  test('spells out control characters, which could steer the terminal', () => {
    expect(formatTable([{ title: 'A' }], [['a\x1b]0;b\x07\n\x9b']])).toBe('A\na\\x1b]0;b\\x07\\x0a\\x9b\n')
  })

  test('cuts lines at the width of the terminal', () => {
    const lines = formatTable(COLUMNS, [['a', '5', 'x'.repeat(50)]], { widthColumns: 20 }).split('\n')
    expect(lines[1]).toBe('a         5   xxxxx…')
  })

  test('sets the titles only in bold', () => {
    expect(formatTable([{ title: 'A' }], [['b']], { bold: true })).toBe('\x1b[1mA\x1b[22m\nb\n')
  })
})

describe('tableOptionsOf()', () => {
  test('gives no styles and no limit without a terminal', () => {
    expect(tableOptionsOf({ columns: 80 })).toEqual({})
  })
  test('takes the width of a terminal', () => {
    expect(tableOptionsOf({ isTTY: true, columns: 80 })).toMatchObject({ widthColumns: 80 })
  })
})

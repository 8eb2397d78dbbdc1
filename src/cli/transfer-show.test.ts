import { expect, test } from 'bun:test'
import type { ProgressKind } from '../image/progress.ts'
import { TransferShow } from './transfer-show.ts'

/** What a show writes; `size`: on a terminal. */
function shown(
  events: readonly (readonly [id: string, kind: ProgressKind, currentBytes?: number, totalBytes?: number])[],
  size: { readonly columns: number; readonly rows: number } | null,
  direction: 'pull' | 'push' = 'pull',
): string {
  let text = ''
  const target = { isTTY: size !== null, ...(size ?? {}), write: (piece: string) => (text += piece) }
  {
    using show = new TransferShow(target, direction)
    for (const [id, kind, currentBytes = 0, totalBytes = 0] of events)
      show.onProgress({ id, kind, currentBytes, totalBytes })
  }
  return text
}

test('TransferShow writes a line for each change where there is no terminal', () => {
  const events = [
    ['a', 'waiting'],
    ['b', 'waiting'],
    ['a', 'downloading', 1, 9],
    ['a', 'downloading', 5, 9],
    ['b', 'exists'],
    ['a', 'pulled'],
  ] as const
  expect(shown(events, null)).toBe(
    'a: Pulling fs layer\nb: Pulling fs layer\na: Downloading\nb: Already exists\na: Pull complete\n',
  )
  expect(shown([['a', 'exists']], null, 'push')).toBe('a: Layer already exists\n')
})

test('TransferShow draws a bar for each part on a terminal', () => {
  const events = [
    ['a', 'downloading', 1_200_000, 3_000_000],
    ['b', 'waiting'],
  ] as const
  expect(shown(events, { columns: 80, rows: 24 })).toBe(
    `\x1b[Ja: Downloading [${'='.repeat(20)}>${' '.repeat(29)}] 1.2MB/3MB\nb: Pulling fs layer\n`,
  )
  expect(shown([['a', 'downloading', 3, 3]], { columns: 40, rows: 24 })).toBe(
    `\x1b[Ja: Downloading [${'='.repeat(16)}] 3B/3B\n`,
  )
  expect(shown([['a', 'downloading', 3, 3]], { columns: 24, rows: 24 })).toBe('\x1b[Ja: Downloading 3B/3B\n')
  expect(shown([['a', 'downloading', 3, 3]], { columns: 10, rows: 24 })).toBe('\x1b[Ja: Downlo\n')
})

test('TransferShow draws no more lines than the terminal has', () => {
  const events = Array.from({ length: 30 }, (_, index) => [`p${index}`, index < 25 ? 'waiting' : 'pulled'] as const)
  const lines = shown(events, { columns: 80, rows: 10 }).trimEnd().split('\n')
  expect(lines).toHaveLength(9)
  expect(lines.at(-1)).toBe('5 of 30 done, 17 more to come')
})

test('TransferShow draws in place of what it drew, also after the terminal has become narrower', async () => {
  const written: string[] = []
  const target = { isTTY: true, columns: 40, rows: 24, write: (piece: string) => written.push(piece) }
  const draw = async (kind: ProgressKind): Promise<void> => {
    show.onProgress({ id: 'a', kind, currentBytes: 1, totalBytes: 9 })
    const count = written.length
    while (written.length === count) await Bun.sleep(5)
  }
  const show = new TransferShow(target, 'pull')
  await draw('downloading')
  await draw('extracting')
  expect(written[1]).toBe('\r\x1b[1A\x1b[Ja: Extracting\n')
  target.columns = 7
  await draw('pulled')
  expect(written[2]).toBe('\r\x1b[2A\x1b[Ja: Pul\n')
  show[Symbol.dispose]()
  expect(written).toHaveLength(3)
})

test('TransferShow counts what is loaded among what is done', () => {
  const events = ['a', 'b', 'c', 'd'].map(id => [id, 'loading', 9, 9] as const)
  expect(shown([...events, ['e', 'loading', 3, 9]], { columns: 40, rows: 5 })).toBe(
    `\x1b[Je: Loading [${'='.repeat(6)}>${' '.repeat(13)}] 3B/9B\n4 of 5 done, 0 more to come\n`,
  )
})

test('TransferShow takes the usual size where the terminal does not know its own', () => {
  expect(shown([['a', 'downloading', 3, 3]], { columns: 0, rows: 0 })).toBe(
    `\x1b[Ja: Downloading [${'='.repeat(50)}] 3B/3B\n`,
  )
})

test('TransferShow lets a warning stand above its picture', () => {
  let text = ''
  const target = { isTTY: true, columns: 80, rows: 24, write: (piece: string) => (text += piece) }
  const show = new TransferShow(target, 'pull')
  show.onProgress({ id: 'a', kind: 'waiting', currentBytes: 0, totalBytes: 0 })
  show.aside(() => target.write('first\n'))
  show.aside(() => target.write('second\n'))
  const picture = 'a: Pulling fs layer\n'
  expect(text).toBe(`\x1b[Jfirst\n\x1b[J${picture}\r\x1b[1A\x1b[Jsecond\n\x1b[J${picture}`)
  show[Symbol.dispose]()
  text = ''
  show.aside(() => target.write('third\n'))
  expect(text).toBe('third\n')
})

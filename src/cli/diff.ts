import { findContainerTree } from '../engine/container-tree.ts'
import type { GivenRoots } from '../engine/data-root.ts'
import { openEngine } from '../engine/open-engine.ts'
import { type Change, readChanges } from '../snapshot/tree-changes.ts'
import { warnOnStderr } from './failure.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'
import { printable } from './table.ts'

const grammar: Grammar = {
  name: 'diff',
  operands: 'CONTAINER',
  help: 'Shows what a container has added (A), changed (C) and deleted (D) in its filesystem.',
  options: [
    { name: 'format', kind: 'value', value: 'FORMAT', help: 'json: lists of added, changed and deleted paths' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

const LETTERS: Readonly<Record<Change['kind'], string>> = { added: 'A', changed: 'C', deleted: 'D' }

/** `berth diff`. */
export async function diffCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  const [container, ...more] = parsed.operands
  if (container === undefined || more.length > 0)
    throw new UsageError(grammar, 'Cannot compare: expected one container')
  const format = parsed.value('format')
  if (format !== undefined && format !== 'json')
    throw new UsageError(grammar, `Cannot use --format: "${format}" is no format, expected json`)
  const engine = openEngine(roots, warnOnStderr)
  const tree = await findContainerTree(container, engine)
  await using layers = await tree.changes()
  const changes = await readChanges(layers)
  process.stdout.write(format === 'json' ? `${JSON.stringify(byKind(changes), null, 2)}\n` : lines(changes))
  return 0
}

function byKind(changes: readonly Change[]): Readonly<Record<Change['kind'], readonly string[]>> {
  const paths = (kind: Change['kind']): readonly string[] =>
    changes.filter(each => each.kind === kind).map(each => textOf(each.path).toString('utf8'))
  return { changed: paths('changed'), added: paths('added'), deleted: paths('deleted') }
}

/** Names of any bytes, as they are for programs; on a terminal, which they could steer, with control characters spelled out. */
function lines(changes: readonly Change[]): Buffer {
  const all = changes.map(({ kind, path }) => {
    const name = process.stdout.isTTY ? Buffer.from(printable(textOf(path).toString('utf8'))) : textOf(path)
    return Buffer.concat([Buffer.from(`${LETTERS[kind]} `), name, Buffer.from('\n')])
  })
  return Buffer.concat(all)
}

function textOf(path: string): Buffer {
  return Buffer.from(path, 'latin1')
}

import { open, rename, rm } from 'node:fs/promises'
import type { GivenRoots } from '../engine/data-root.ts'
import { exportContainer } from '../engine/export-container.ts'
import { openEngine } from '../engine/open-engine.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'

const grammar: Grammar = {
  name: 'export',
  operands: 'CONTAINER',
  help: 'Writes all that a container sees, without what is mounted in it, as a tar archive.',
  options: [
    { name: 'output', short: 'o', kind: 'value', value: 'FILE', help: 'write to a file instead of standard output' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** `berth export`. */
export async function exportCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  const [container, ...more] = parsed.operands
  if (container === undefined || more.length > 0) throw new UsageError(grammar, 'Cannot export: expected one container')
  const engine = openEngine(roots, message => console.error(`berth: warning: ${message}`))
  const output = parsed.value('output')
  if (output === undefined && process.stdout.isTTY)
    throw new UsageError(grammar, 'Cannot export: standard output is a terminal, expected --output or a pipe')
  if (output === undefined) await exportContainer(container, engine, writeToStdout)
  else await exportToFile(output, write => exportContainer(container, engine, write))
  return 0
}

function writeToStdout(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, error => {
      if (error === null || error === undefined) resolve()
      else reject(new BerthError('cancelled', `Cannot export: ${messageOf(error)}`, { cause: error }))
    })
  })
}

/** Under its name the file is whole or not there. */
async function exportToFile(
  output: string,
  run: (write: (bytes: Uint8Array) => Promise<void>) => Promise<unknown>,
): Promise<void> {
  const making = `${output}.making-${process.pid}`
  const file = await open(making, 'wx', 0o600)
  try {
    await run(async bytes => {
      for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten
    })
    await file.close()
    await rename(making, output)
  } catch (error) {
    await file.close()
    await rm(making, { force: true })
    throw error
  }
}

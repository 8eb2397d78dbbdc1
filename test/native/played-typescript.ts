/**
 * Plays the TypeScript that a berth-init called `…-runc` starts (docs/plan-protocol.md, "Mode run"): carries out the list of
 * `scenario.json` beside it, one after the other.
 */
import { existsSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** `send` a frame (base64), wait `until` a file is there, write all `records` that come into a file, `die` of SIGKILL. */
export type Act =
  | { readonly send: string }
  | { readonly until: string }
  | { readonly records: string }
  | { readonly die: true }

const CONNECTION = 300

function play(act: Act): void {
  if ('send' in act) {
    const bytes = Buffer.from(act.send, 'base64')
    for (let at = 0; at < bytes.length; ) at += writeSync(CONNECTION, bytes, at)
  } else if ('until' in act) {
    while (!existsSync(act.until)) Bun.sleepSync(1)
  } else if ('records' in act) {
    writeFileSync(act.records, readAll())
  } else {
    process.kill(process.pid, 'SIGKILL')
  }
}

function readAll(): Buffer {
  const chunks: Buffer[] = []
  const chunk = Buffer.alloc(4096)
  try {
    for (let count = readSync(CONNECTION, chunk); count > 0; count = readSync(CONNECTION, chunk))
      chunks.push(Buffer.from(chunk.subarray(0, count)))
  } catch (error) {
    // How a connection ends whose other side has not read all that we sent.
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error
  }
  return Buffer.concat(chunks)
}

if (import.meta.main) {
  const [directory = ''] = process.argv.slice(2)
  for (const act of JSON.parse(readFileSync(join(directory, 'scenario.json'), 'utf8')) as readonly Act[]) play(act)
  process.exit(9)
}

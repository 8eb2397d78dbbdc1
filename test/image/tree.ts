/** What is in a directory, for comparisons. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TarParser } from '../../src/lib/tar/parser.ts'

/** Runs a command and returns what it wrote. */
export function run(command: string, ...args: readonly string[]): Buffer {
  const { status, stdout, stderr } = spawnSync(command, args, { maxBuffer: 1 << 30 })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${status}: ${stderr}`)
  return stdout
}

/**
 * A line for each file, as GNU tar reads it: type, mode, owner, time to the nanosecond, size, link target, device number,
 * attributes and the content's hash.
 */
export function treeOf(directory: string): string[] {
  const options = ['--sort=name', '--format=posix', '--numeric-owner', '--acls', '--xattrs', '--xattrs-include=*']
  const lines: string[] = []
  let hash = createHash('sha256')
  const parser = new TarParser({
    entry: ({ sizeBytes, mtime, xattrs, otherRecords, ...entry }) => {
      const attributes = [...xattrs].map(([name, value]) => `${name}=${Buffer.from(value, 'latin1').toString('hex')}`)
      const device = `${entry.devmajor}:${entry.devminor}`
      const time = `${mtime.seconds}.${String(mtime.nanoseconds).padStart(9, '0')}`
      const start = [
        entry.name,
        entry.type,
        entry.mode.toString(8),
        `${entry.uid}:${entry.gid}`,
        time,
        sizeBytes,
        device,
      ]
      lines.push([...start, entry.linkname, ...attributes.sort(), ...otherRecords].join(' '))
      hash = createHash('sha256')
    },
    data: (offset, bytes) => {
      hash.update(`${offset} `).update(bytes)
    },
    end: ({ type }) => {
      if (type === 'file') lines.push(`  ${hash.digest('hex')}`)
    },
  })
  // In one piece, so that the content's pieces, which are hashed with their offsets, are the same for the same file.
  const bytes = run('tar', '-C', directory, ...options, '-cf', '-', '.')
  parser.push(bytes)
  parser.finish()
  return lines
}

/** A temporary directory that goes with its scope. */
export class TemporaryDirectory implements Disposable {
  readonly path: string

  constructor() {
    this.path = mkdtempSync(join(tmpdir(), 'berth-image-'))
  }

  [Symbol.dispose](): void {
    // Unlike fs.rm, which builds paths, it removes trees that are deeper than a path can be long.
    run('rm', '-rf', this.path)
  }
}

/** /proc/PID/mountinfo. Source: proc_pid_mountinfo(5). */

import { BerthError } from '../lib/error.ts'

/** One mount of a mount namespace, paths unescaped and as seen from the root of the process asked. */
export interface MountInfo {
  readonly mountId: number
  readonly parentId: number
  readonly major: number
  readonly minor: number
  /** The directory of the filesystem that is mounted. */
  readonly root: string
  readonly mountPoint: string
  /** Of this mount: `rw`, `nosuid`, … */
  readonly options: readonly string[]
  /** `shared:1`, `master:2`, `propagate_from:3`, `unbindable`. */
  readonly optionalFields: readonly string[]
  readonly fstype: string
  readonly source: string
  /** Of the filesystem. */
  readonly superOptions: readonly string[]
}

/**
 * Parses the whole file, in its order: a later mount at the same point covers an earlier one.
 * @throws {BerthError} internal for a line of another form, which no kernel writes.
 */
export function parseMountInfo(text: string): readonly MountInfo[] {
  return text
    .split('\n')
    .filter(line => line !== '')
    .map(parseLine)
}

function parseLine(line: string): MountInfo {
  const fields = line.split(' ')
  // The optional fields end at a lone hyphen; no field before them can be one.
  const separator = fields.indexOf('-', 6)
  const [mountId, parentId, device, root, mountPoint, options] = fields
  const [fstype, source, superOptions] = fields.slice(separator + 1)
  const [, major, minor] = /^(\d+):(\d+)$/.exec(device ?? '') ?? []
  if (separator < 6 || superOptions === undefined || major === undefined || !/^\d+ \d+ /.test(line)) {
    throw new BerthError(
      'internal',
      `Cannot parse mountinfo line ${JSON.stringify(line)}: expected the form of proc(5)`,
    )
  }
  return {
    mountId: Number(mountId),
    parentId: Number(parentId),
    major: Number(major),
    minor: Number(minor),
    root: unescapeMountField(root ?? ''),
    mountPoint: unescapeMountField(mountPoint ?? ''),
    options: (options ?? '').split(','),
    optionalFields: fields.slice(6, separator),
    fstype: unescapeMountField(fstype ?? ''),
    source: unescapeMountField(source ?? ''),
    superOptions: unescapeMountField(superOptions).split(','),
  }
}

/** Undoes the kernel's `\040` (space), `\011` (tab), `\012` (newline), `\134` (backslash) and `\043` (#). */
function unescapeMountField(field: string): string {
  if (!field.includes('\\')) return field
  return field.replaceAll(/\\([0-3][0-7]{2})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}

import { closeSync, constants, openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import { BerthError, type ErrorCategory } from '../../lib/error.ts'

const CATEGORIES: Readonly<Record<string, ErrorCategory>> = {
  EINVAL: 'invalidArgument',
  ERANGE: 'invalidArgument',
  EBUSY: 'conflict',
  EPERM: 'forbidden',
  EACCES: 'forbidden',
  EROFS: 'forbidden',
  ENOENT: 'unavailable',
  ENODEV: 'unavailable',
}

/** The errno name of a failed call on a file; '' when it was none. */
export function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}

/** ENOENT: not there; ENODEV: removed while it was open. */
export function isGone(error: unknown): boolean {
  return errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENODEV'
}

/** The text of a file of a cgroup; null when the file or the cgroup does not exist, or the controller won't say (ENOTSUP). */
export function readCgroupFile(dir: string, file: string): string | null {
  try {
    return readFileSync(`${dir}/${file}`, 'utf8')
  } catch (error) {
    // EOPNOTSUPP: a file of a controller that is there but off, as cpu.pressure without PSI.
    if (isGone(error) || errnoOf(error) === 'EOPNOTSUPP' || errnoOf(error) === 'ENOTSUP') return null
    throw new BerthError('internal', `Cannot read cgroup file "${dir}/${file}": ${errnoOf(error)}`, { cause: error })
  }
}

/**
 * Writes a file of a cgroup with one write(2), which is what its files understand as one value.
 * It never creates or truncates: open(2) with O_CREAT turns ENOENT into EPERM on cgroupfs.
 * @throws {BerthError} with the errno in the text and the error of the call as its cause
 */
export function writeCgroupFile(dir: string, file: string, value: string): void {
  try {
    const fd = openSync(`${dir}/${file}`, constants.O_WRONLY | constants.O_NOFOLLOW)
    try {
      // An empty write(2) never reaches the file's handler; a lone newline does and means "nothing".
      writeSync(fd, value === '' ? '\n' : value)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    const errno = errnoOf(error)
    const message = `Cannot write "${value}" to cgroup file "${dir}/${file}": ${errno}${explain(dir, file, errno)}`
    throw new BerthError(CATEGORIES[errno] ?? 'internal', message, { cause: error })
  }
}

function explain(dir: string, file: string, errno: string): string {
  const controller = file.slice(0, file.indexOf('.'))
  if (errno === 'ENOENT') return `, no such file: the kernel lacks it or the controller "${controller}" is not enabled`
  if (errno === 'EBUSY' && file === 'memory.limit_in_bytes') {
    return `, the memory in use is ${readCgroupFile(dir, 'memory.usage_in_bytes')?.trim()} bytes`
  }
  return ''
}

/** Names of the cgroups directly below one; none when it is gone. */
export function childCgroups(dir: string): readonly string[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter(entry => entry.isDirectory())
      .map(entry => entry.name)
  } catch (error) {
    if (isGone(error)) return []
    throw error
  }
}

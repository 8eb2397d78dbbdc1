import { errnoNumber } from '../../lib/errno-name.ts'
import { BerthError, messageOf } from '../../lib/error.ts'
import type { CgroupSetting } from '../../linux/cgroup/setting.ts'
import { errnoOf, readCgroupFile, writeCgroupFile } from './cgroup-file.ts'
import { type CgroupLocation, directoryFor } from './location.ts'

/** What a file of a cgroup is set back by. */
interface Restore {
  readonly file: string
  readonly value: string
}

/** One write that was done, and how to take it back; null when nothing does. */
interface Written {
  readonly dir: string
  readonly file: string
  readonly restore: Restore | null
}

/**
 * Writes settings in their order. When one fails, those before are set back in reverse order, as far as that goes.
 * Gives the way to set all of them back, which says what it could not.
 * @throws {BerthError} of the failing write; what could not be set back is added to its text
 */
export function writeSettings(location: CgroupLocation, settings: readonly CgroupSetting[]): () => readonly string[] {
  const done: Written[] = []
  const undo = () => done.toReversed().flatMap(each => takeBack(each) ?? [])
  try {
    for (const setting of settings) {
      const written = writeOne(location, setting)
      if (written !== null) done.push(written)
    }
  } catch (error) {
    throw withLost(error, undo())
  }
  return undo
}

/** An error with what could not be set back after it. */
export function withLost(error: unknown, lost: readonly string[]): unknown {
  if (lost.length === 0 || !(error instanceof BerthError)) return error
  return new BerthError(error.category, `${error.message}; ${lost.join('; ')}`, { cause: error })
}

function takeBack({ dir, file, restore }: Written): string | null {
  if (restore === null) return `${file} can't be set back`
  try {
    writeCgroupFile(dir, restore.file, restore.value)
    return null
  } catch (error) {
    return messageOf(error)
  }
}

/** The directory that a setting's file lies in. @throws {BerthError} unavailable: no hierarchy has the controller */
export function settingDirectory(location: CgroupLocation, { controller, file }: CgroupSetting): string {
  const found = directoryFor(location, controller)
  if (found === undefined) {
    throw new BerthError(
      'unavailable',
      `Cannot set "${file}": no cgroup hierarchy of the host has the controller ${controller}`,
    )
  }
  return found.dir
}

function writeOne(location: CgroupLocation, setting: CgroupSetting): Written | null {
  const dir = settingDirectory(location, setting)
  const choices = [setting, ...(setting.orElse === undefined ? [] : [setting.orElse])]
  for (const [i, { file, value }] of choices.entries()) {
    const text = WRITE_ONLY.has(file) ? '' : readCgroupFile(dir, file)
    try {
      writeCgroupFile(dir, file, value)
      return { dir, file, restore: restoreOf(file, value, text ?? '') }
    } catch (error) {
      const errno = errnoOf(error instanceof Error ? error.cause : undefined)
      if (errno === 'ENOENT' && i + 1 < choices.length) continue
      if (setting.tolerate?.includes(errnoNumber(errno) ?? 0)) return null
      throw error
    }
  }
  return null
}

/** Files with one line per device: what to write to lift the limit of a device that had none. */
const PER_DEVICE: Readonly<Record<string, string>> = {
  'io.max': 'rbps=max wbps=max riops=max wiops=max',
  'io.weight': 'default',
  'io.bfq.weight': 'default',
  'rdma.max': 'hca_handle=max hca_object=max',
  'net_prio.ifpriomap': '0',
  'blkio.bfq.weight_device': '0',
  'blkio.weight_device': '0',
  'blkio.throttle.read_bps_device': '0',
  'blkio.throttle.write_bps_device': '0',
  'blkio.throttle.read_iops_device': '0',
  'blkio.throttle.write_iops_device': '0',
}

/** Files that open(2) refuses to read. */
const WRITE_ONLY: ReadonlySet<string> = new Set(['devices.allow', 'devices.deny'])

/** What gets a file back to its former text, given what was written into it; null when there is no way to say it. */
export function restoreOf(file: string, written: string, text: string): Restore | null {
  if (file === 'devices.allow') return written === 'a' ? null : { file: 'devices.deny', value: written }
  if (file === 'devices.deny') return written === 'a' ? null : { file: 'devices.allow', value: written }
  if (file === 'memory.oom_control') return { file, value: /^oom_kill_disable (\d)/m.exec(text)?.[1] ?? '0' }
  const neutral = PER_DEVICE[file]
  const [device = '', ...rest] = written.trim().split(' ')
  if (neutral === undefined) return { file, value: text.trim() }
  // The first line of a weight file is its default: `default 100`.
  if (rest.length === 0) return { file, value: text.split('\n')[0] ?? '' }
  const line = text.split('\n').find(each => each.startsWith(`${device} `))
  return { file, value: line ?? `${device} ${neutral}` }
}

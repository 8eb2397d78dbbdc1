import { mkdirSync } from 'node:fs'
import { BerthError } from '../lib/error.ts'
import { readDriverChoice, writeDriverChoice } from './driver-choice.ts'
import { removeLeftovers } from './leftovers.ts'
import { DRIVER_NAMES, type DriverName, type SnapshotDriver } from './snapshot-driver.ts'

/** How to open the snapshots of a data root. */
export interface OpenDriverOptions {
  /** The driver that was asked for; null: the one that the data root has, or else the first that works. */
  readonly asked: DriverName | null
  /** Without privileges on the host there are only overlays. */
  readonly isRootless: boolean
  /** Only look: a choice is not written down. Default: false. */
  readonly isDry?: boolean
}

/**
 * The driver of a data root (an absolute path). The choice is made once and written down there, so that a store is never read by
 * another driver than the one that made it: their roots look alike and are not.
 * @throws {BerthError} conflict: the store was made by another; unavailable: the one that was asked for, or none, works here;
 * invalidArgument: what is written down is no driver
 */
export async function openDriver(dataRoot: string, options: OpenDriverOptions): Promise<SnapshotDriver> {
  const { asked } = options
  const made = asked === null ? readDriverChoice(dataRoot) : checkDriver(dataRoot, asked)
  const name = made ?? (await choose(dataRoot, options))
  if (made === null && options.isDry !== true) {
    const first = writeDriverChoice(dataRoot, name)
    if (first !== name) return await openDriver(dataRoot, options)
  }
  return await load(name, dataRoot)
}

/**
 * The driver that is written down in a data root, which must not be another than the one that is asked for; null: none is yet.
 * @throws {BerthError} conflict: it is another
 */
export function checkDriver(dataRoot: string, asked: DriverName): DriverName | null {
  const made = readDriverChoice(dataRoot)
  if (made !== null && made !== asked) throw madeByAnother(dataRoot, made, asked)
  return made
}

/** Why a driver can't be used below a data root that exists, null when it can. */
export async function driverProblem(
  name: DriverName,
  dataRoot: string,
  { isRootless }: Pick<OpenDriverOptions, 'isRootless'>,
): Promise<string | null> {
  if (isRootless)
    return name === 'overlay' ? null : 'it takes privileges on the host, and the user who runs Berth has none'
  switch (name) {
    case 'overlay':
      return await (await import('./overlay-driver.ts')).overlayProblem(dataRoot)
    case 'btrfs':
      return await (await import('./btrfs-driver.ts')).btrfsProblem(dataRoot)
    case 'fuse-overlayfs':
      return (await import('./fuse-driver.ts')).fuseProblem()
    case 'vfs':
      return null
    case 'erofs':
      return await (await import('./erofs-driver.ts')).erofsProblem(dataRoot)
  }
}

async function choose(dataRoot: string, { asked, isRootless }: OpenDriverOptions): Promise<DriverName> {
  mkdirSync(dataRoot, { recursive: true, mode: 0o700 })
  await removeLeftovers(dataRoot)
  const problems: string[] = []
  for (const name of asked === null ? DRIVER_NAMES : [asked]) {
    const problem = await driverProblem(name, dataRoot, { isRootless })
    if (problem === null) return name
    problems.push(`${name}: ${problem}`)
  }
  throw new BerthError('unavailable', `Cannot use storage driver ${problems.join('; ')}`)
}

/** Only the one in use is loaded. */
async function load(name: DriverName, dataRoot: string): Promise<SnapshotDriver> {
  switch (name) {
    case 'overlay':
      return new (await import('./overlay-driver.ts')).OverlayDriver()
    case 'btrfs':
      return new (await import('./btrfs-driver.ts')).BtrfsDriver(dataRoot)
    case 'fuse-overlayfs':
      return new (await import('./fuse-driver.ts')).FuseDriver()
    case 'vfs':
      return new (await import('./vfs-driver.ts')).VfsDriver(dataRoot)
    case 'erofs':
      return new (await import('./erofs-driver.ts')).ErofsDriver()
  }
}

function madeByAnother(dataRoot: string, made: DriverName, asked: DriverName): BerthError {
  return new BerthError(
    'conflict',
    `Cannot use storage driver "${asked}": the store at "${dataRoot}" was made by ${made}, expected --storage-driver ${made} or another --root`,
  )
}

import type { SnapshotRoot } from './root-source.ts'
import type { DriverName } from './snapshot-driver.ts'

/** Docker's names of the drivers, where they differ from ours. */
const DOCKER_NAMES: Partial<Readonly<Record<DriverName, string>>> = { overlay: 'overlay2' }

/** GraphDriver of the Engine API: which driver, and the directories that it works with. */
export type GraphDriver = {
  readonly Name: string
  /** Null: the driver has nothing to tell, as docker's btrfs and vfs. */
  readonly Data: ReadonlyMap<string, string> | null
}

/** The root of a container; null: it is not made of layers alone. */
export function graphDriver(driver: DriverName, root: SnapshotRoot | null): GraphDriver {
  const name = DOCKER_NAMES[driver] ?? driver
  if (root?.kind !== 'overlay') return { Name: name, Data: null }
  const { lowers, upper, work } = root
  const data = new Map([
    ['LowerDir', lowers.join(':')],
    ['UpperDir', upper],
    ['WorkDir', work],
  ])
  return { Name: name, Data: data }
}

/** The layers of an image, the topmost first; null: not all of them are unpacked. Drivers that merge layers work with none of them alone. */
export function imageGraphDriver(driver: DriverName, layerPaths: readonly string[] | null): GraphDriver {
  const name = DOCKER_NAMES[driver] ?? driver
  const isStacked = driver === 'overlay' || driver === 'fuse-overlayfs'
  if (!isStacked) return { Name: name, Data: null }
  return { Name: name, Data: new Map(layerPaths === null ? [] : [['LowerDir', layerPaths.join(':')]]) }
}

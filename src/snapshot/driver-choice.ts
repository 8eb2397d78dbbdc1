import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BerthError } from '../lib/error.ts'
import { makingName } from './leftovers.ts'
import { DRIVER_NAMES, type DriverName } from './snapshot-driver.ts'

/** In the data root: the name of the driver that its containers were made with. */
const CHOICE = 'storage-driver'

/** The driver that a data root (an absolute path) was made with; null: none yet. @throws {BerthError} invalidArgument: what is written down is none */
export function readDriverChoice(dataRoot: string): DriverName | null {
  try {
    return parseDriverName(readFileSync(join(dataRoot, CHOICE), 'utf8').trim())
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/** Writes it down unless another process was first, whose choice is returned. */
export function writeDriverChoice(dataRoot: string, name: DriverName): DriverName {
  const making = join(dataRoot, makingName())
  writeFileSync(making, `${name}\n`, { mode: 0o600 })
  try {
    linkSync(making, join(dataRoot, CHOICE))
    return name
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return readDriverChoice(dataRoot) ?? name
  } finally {
    rmSync(making, { force: true })
  }
}

/** The driver of a name. @throws {BerthError} invalidArgument: there is none */
export function parseDriverName(text: string): DriverName {
  const found = DRIVER_NAMES.find(name => name === text)
  if (found !== undefined) return found
  throw new BerthError(
    'invalidArgument',
    `Cannot use storage driver "${text}": expected ${DRIVER_NAMES.slice(0, -1).join(', ')} or ${DRIVER_NAMES.at(-1)}`,
  )
}

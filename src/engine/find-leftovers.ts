import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { sameProcess } from '../host/process-identity.ts'
import { StateDirectory } from '../runtime/state-directory.ts'
import { leftoversIn } from '../snapshot/leftovers.ts'
import { measureTree } from './measure-tree.ts'
import { containerDirectory, type Engine } from './open-engine.ts'

/** A directory that nobody needs. */
export interface LeftoverDirectory {
  /** `container`: of a container that is none any more; `scratch`: of a process that has ended. */
  readonly kind: 'container' | 'scratch'
  /** The directory that it is in, and its name there. */
  readonly parent: string
  readonly name: string
  /** What it takes of the disk, as `du` counts. */
  readonly diskBytes: number
}

/** Where processes make directories of their own, below the data root. */
const SCRATCH_PARENTS = ['', 'bootstrap'] as const

/** Directories below the data root that killed processes have left, those of image content apart. Changes nothing. */
export async function findLeftovers(engine: Engine): Promise<readonly LeftoverDirectory[]> {
  const found: LeftoverDirectory[] = []
  for (const name of orphanContainers(engine)) {
    const path = containerDirectory(engine.roots, name)
    found.push({ kind: 'container', parent: join(path, '..'), name, diskBytes: await sizeOf(path, engine) })
  }
  for (const parent of SCRATCH_PARENTS.map(each => join(engine.roots.data, each)).filter(each => existsSync(each))) {
    for (const name of await leftoversIn(parent))
      found.push({ kind: 'scratch', parent, name, diskBytes: await sizeOf(join(parent, name), engine) })
  }
  return found
}

/** A container's row is there before its directory and goes after it: a directory without one is left from a crash. */
function orphanContainers({ roots, database }: Engine): readonly string[] {
  const containers = join(roots.data, 'containers')
  // Read before the rows: a directory that comes in between is not seen.
  const names = existsSync(containers) ? readdirSync(containers) : []
  const known = new Set(database.list().map(({ id }) => id))
  return names.filter(name => !known.has(name) && !isAlive(roots.run, name))
}

function isAlive(runRoot: string, id: string): boolean {
  const record = new StateDirectory(runRoot, id).record()
  return record !== null && sameProcess(record.process)
}

async function sizeOf(path: string, { warn }: Engine): Promise<number> {
  const { uniqueBytes, sharedBytes } = await measureTree(path, warn)
  return uniqueBytes + sharedBytes
}

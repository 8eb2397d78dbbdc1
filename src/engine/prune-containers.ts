import { matchesLabel, momentMs, readFilter } from '../image/image-filter.ts'
import { BerthError } from '../lib/error.ts'
import { type ListedContainer, listContainers, removeContainer } from './list-containers.ts'
import { measureTree } from './measure-tree.ts'
import { containerDirectory, type Engine } from './open-engine.ts'

/** Whether a container is meant. */
export type ContainerTest = (container: ListedContainer) => boolean

/** What to prune. */
export interface PruneContainersOptions {
  readonly filter: ContainerTest
  /** Only tell what would go. Default: false. */
  readonly isDry?: boolean
  readonly signal?: AbortSignal
}

/** A container that went, or would go. */
export interface PrunedContainer {
  readonly id: string
  /** What it took of the disk, its log included. */
  readonly diskBytes: number
}

/**
 * Reads `--filter` of `container prune` as docker does: `until`, `label`, `label!`; all have to hold.
 * @throws {BerthError} invalidArgument: no such filter or value
 */
export function containerFilter(texts: readonly string[], nowMs: number): ContainerTest {
  const tests = texts.map(readFilter).map(([name, value]): ContainerTest => {
    switch (name) {
      case 'label':
        return ({ labels }) => matchesLabel(labels, value)
      case 'label!':
        return ({ labels }) => !matchesLabel(labels, value)
      case 'until': {
        const limit = momentMs(value, nowMs)
        return ({ created }) => Date.parse(created) < limit
      }
      default:
        throw new BerthError(
          'invalidArgument',
          `Cannot filter containers by "${name}": expected until, label or label!`,
        )
    }
  })
  return container => tests.every(test => test(container))
}

/** Removes the containers that have ended. */
export async function pruneContainers(
  engine: Engine,
  { filter, isDry = false, signal }: PruneContainersOptions,
): Promise<readonly PrunedContainer[]> {
  const pruned: PrunedContainer[] = []
  for (const container of listContainers(engine).filter(each => each.status === 'stopped' && filter(each))) {
    signal?.throwIfAborted()
    const { id } = container
    const { uniqueBytes } = await measureTree(containerDirectory(engine.roots, id), engine.warn)
    if (isDry || (await removeUnlessGone(id, engine))) pruned.push({ id, diskBytes: uniqueBytes })
  }
  return pruned
}

async function removeUnlessGone(id: string, engine: Engine): Promise<boolean> {
  try {
    await removeContainer(id, false, engine)
    return true
  } catch (error) {
    // Somebody else was quicker.
    if (error instanceof BerthError && error.category === 'notFound') return false
    throw error
  }
}

import { messageOf } from '../lib/error.ts'
import { type FoundContainer, statusOf } from './container-state.ts'
import type { RuntimeOptions } from './runtime-options.ts'
import { containerIds, StateDirectory } from './state-directory.ts'

/**
 * All containers below the root directory, by id. What a creator that died half-way has left is no container; one that can't
 * be read is a warning, so that it hides no other.
 */
export function listContainers(options: RuntimeOptions): readonly FoundContainer[] {
  return containerIds(options.root).flatMap(id => {
    const directory = new StateDirectory(options.root, id)
    try {
      const record = directory.record()
      if (record === null) return []
      const status = statusOf(directory, record)
      if (status === 'stopped' && directory.isLeftover()) return []
      return [{ directory, record, status }]
    } catch (error) {
      // It may have been deleted since its name was read.
      if (directory.exists()) options.warn(`container "${id}": ${messageOf(error)}`)
      return []
    }
  })
}

import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatJson } from '../lib/json-shape.ts'
import type { LinuxResources } from '../linux/cgroup/resources.ts'
import { parseResources } from '../oci/runtime-spec-resources-parser.ts'
import { cgroupOf } from './container-cgroup.ts'
import { expectStatus, findContainer } from './container-state.ts'
import type { RuntimeOptions } from './runtime-options.ts'
import type { StateDirectory } from './state-directory.ts'

/** The limits as they stand after the last update. */
const RESOURCES = 'resources.json'

/**
 * Changes limits of a container: those given, and no others. When one can't be set, those before it are set back.
 * @throws {BerthError} notFound; conflict: it is stopped; see `CgroupManager.update`
 */
export async function updateContainer(id: string, changes: LinuxResources, options: RuntimeOptions): Promise<void> {
  const found = findContainer(options.root, id)
  expectStatus(found, 'update', 'running', 'created', 'paused')
  const standing = currentResources(found.directory)
  await cgroupOf(found.record).update(withPartners(changes, standing))
  saveResources(found.directory, mergeResources(standing, changes))
}

/** The limits of a container: those of its config as updates have changed them. */
function currentResources(directory: StateDirectory): LinuxResources {
  try {
    return parseResources(readFileSync(join(directory.path, RESOURCES), 'utf8'), RESOURCES).value
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return directory.spec().linux?.resources ?? {}
  }
}

function saveResources(directory: StateDirectory, resources: LinuxResources): void {
  const temporary = join(directory.path, `${RESOURCES}.tmp`)
  writeFileSync(temporary, formatJson(resources), { mode: 0o600 })
  renameSync(temporary, join(directory.path, RESOURCES))
}

/**
 * Adds what the kernel takes only together: cpu.max holds quota and period, and v2's limit on swap alone is computed from the limit
 * on memory. A partner that is not changed stays at its old value instead of falling back to the kernel's.
 */
export function withPartners(changes: LinuxResources, standing: LinuxResources): LinuxResources {
  const { cpu, memory } = changes
  const quota = cpu?.quota ?? (cpu?.period === undefined ? undefined : standing.cpu?.quota)
  const period = cpu?.period ?? (cpu?.quota === undefined ? undefined : standing.cpu?.period)
  const limit = memory?.limit ?? (memory?.swap === undefined ? undefined : standing.memory?.limit)
  return {
    ...changes,
    ...(cpu !== undefined && {
      cpu: { ...cpu, ...(quota !== undefined && { quota }), ...(period !== undefined && { period }) },
    }),
    ...(memory !== undefined && { memory: { ...memory, ...(limit !== undefined && { limit }) } }),
  }
}

/** `changes` over `standing`, field by field in the groups whose fields are settings of their own. */
export function mergeResources(standing: LinuxResources, changes: LinuxResources): LinuxResources {
  return {
    ...standing,
    ...changes,
    ...(changes.cpu !== undefined && { cpu: { ...standing.cpu, ...changes.cpu } }),
    ...(changes.memory !== undefined && { memory: { ...standing.memory, ...changes.memory } }),
    ...(changes.blockIO !== undefined && { blockIO: { ...standing.blockIO, ...changes.blockIO } }),
    ...(changes.network !== undefined && { network: { ...standing.network, ...changes.network } }),
    ...(changes.rdma !== undefined && { rdma: { ...standing.rdma, ...changes.rdma } }),
    ...(changes.unified !== undefined && { unified: { ...standing.unified, ...changes.unified } }),
  }
}

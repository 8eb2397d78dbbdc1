import { OOM_POLL_MS } from '../host/cgroup/manager.ts'
import { sameProcess } from '../host/process-identity.ts'
import { formatJson } from '../lib/json-shape.ts'
import { cgroupOf } from './container-cgroup.ts'
import { expectStatus, type FoundContainer, findContainer } from './container-state.ts'
import type { RuntimeOptions } from './runtime-options.ts'

/** What to watch a container with. */
export interface EventsOptions extends RuntimeOptions {
  /** Between two stats. */
  readonly intervalMs: number
  /** Takes one event, a line of JSON without its newline. */
  readonly emit: (event: string) => void
}

/** The end of a process that is not our child has no file descriptor Bun could wait on. */
const END_POLL_MS = 100

/**
 * Emits a container's use of resources at every interval and each time its processes are killed for lack of memory, until its
 * process has ended.
 * @throws {BerthError} notFound; conflict: it is stopped
 */
export async function streamEvents(id: string, options: EventsOptions): Promise<void> {
  const found = findAlive(id, options)
  const cgroup = cgroupOf(found.record)
  const end = new AbortController()
  cgroup.onOom(() => options.emit(JSON.stringify({ type: 'oom', id })), end.signal)
  for (let due = performance.now() + options.intervalMs; sameProcess(found.record.process); ) {
    const rest = due - performance.now()
    if (rest > 0) {
      await Bun.sleep(Math.min(rest, END_POLL_MS))
      continue
    }
    if (cgroup.exists()) options.emit(statsEvent(found))
    due += options.intervalMs
  }
  // Often it was the lack of memory that ended it, and v1 is asked for that only so often.
  await Bun.sleep(OOM_POLL_MS)
  end.abort()
}

/** One event with a container's use of resources as it is. @throws {BerthError} notFound; conflict: it is stopped */
export function readStats(id: string, options: RuntimeOptions): string {
  return statsEvent(findAlive(id, options))
}

function findAlive(id: string, options: RuntimeOptions): FoundContainer {
  const found = findContainer(options.root, id)
  expectStatus(found, 'watch', 'running', 'created', 'paused')
  return found
}

/**
 * runc's form. `intel_rdt` and `network_interfaces` are empty there too for every container of an OCI bundle: nothing in a config
 * makes the runtime measure them.
 */
function statsEvent({ record }: FoundContainer): string {
  const data = { ...cgroupOf(record).stats(), intel_rdt: {}, network_interfaces: null }
  return formatJson({ type: 'stats', id: record.id, data })
}

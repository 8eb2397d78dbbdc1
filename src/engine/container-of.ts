import { readFileSync } from 'node:fs'

/** The id of an engine's container is the name of its cgroup, whatever the parent. */
const CONTAINER_CGROUP = /\/(?:berth-)?([0-9a-f]{64})(?:\.scope)?(?:\/|$)/m

/** The id of the container that a process of this machine is in, by its cgroup; undefined when it is in none or has ended. */
export function containerOf(pid: number): string | undefined {
  try {
    return CONTAINER_CGROUP.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1]
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return undefined
    throw error
  }
}

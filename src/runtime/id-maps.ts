import { BerthError } from '../lib/error.ts'
import type { IdMapping } from '../linux/id-map.ts'
import type { RuntimeSpec } from '../oci/runtime-spec.ts'

/**
 * Has the set-user-id programs of the `uidmap` package write the id maps of a process, as a user without privileges must.
 * @throws {BerthError} unavailable: the programs are not installed; forbidden: /etc/subuid does not grant the ids
 */
export async function writeIdMaps(pid: number, spec: RuntimeSpec): Promise<void> {
  await run('newuidmap', pid, spec.linux?.uidMappings ?? [])
  await run('newgidmap', pid, spec.linux?.gidMappings ?? [])
}

async function run(program: string, pid: number, mappings: readonly IdMapping[]): Promise<void> {
  const path = Bun.which(program)
  if (path === null)
    throw new BerthError('unavailable', `Cannot map ids: ${program} is not installed, expected the package uidmap`)
  const ids = mappings.flatMap(({ containerID, hostID, size }) => [String(containerID), String(hostID), String(size)])
  const child = Bun.spawn([path, String(pid), ...ids], { stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' })
  const said = await new Response(child.stderr).text()
  if ((await child.exited) !== 0) throw new BerthError('forbidden', `Cannot map ids: ${program}: ${said.trim()}`)
}

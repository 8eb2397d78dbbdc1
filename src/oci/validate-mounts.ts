/** Whether `mounts` can be mounted as they say. Source: runtime-spec › Mounts. */

import { cleanPath } from '../lib/clean-path.ts'
import { idMapProblem } from '../linux/id-map.ts'
import { type MountOptions, parseMountOptions } from '../linux/mount-options.ts'
import type { Findings } from './findings.ts'
import type { Mount, RuntimeSpec } from './runtime-spec.ts'

/** Checks all mounts of a config. */
export function validateMounts(spec: RuntimeSpec, findings: Findings): void {
  const hasUserNamespace = spec.linux?.namespaces?.some(namespace => namespace.type === 'user') ?? false
  const seen = new Map<string, Mount>()
  for (const [index, mount] of (spec.mounts ?? []).entries()) {
    const path = `mounts[${index}]`
    const options = parseMountOptions(mount.options ?? [])
    validateDestination(mount, path, findings)
    validateBind(mount, options, path, findings)
    validateIdMapping(mount, options, path, hasUserNamespace, findings)
    if (options.tmpcopyup && mount.type !== 'tmpfs') {
      findings.problem(`${path}.options`, 'has tmpcopyup, expected it with type tmpfs only')
    }
    if (!options.remount) validateDuplicate(mount, path, seen, findings)
  }
}

function validateDestination({ destination }: Mount, path: string, findings: Findings): void {
  const shown = JSON.stringify(destination)
  if (destination === '') findings.problem(`${path}.destination`, 'is empty, expected an absolute path')
  else if (destination.split('/').includes('..')) {
    findings.problem(`${path}.destination`, `is ${shown}, expected a path without ".."`)
  } else if (!destination.startsWith('/')) {
    findings.warning(`${path}.destination`, `is ${shown}: a relative path is deprecated and read as one from /`)
  }
}

function validateBind(mount: Mount, options: MountOptions, path: string, findings: Findings): void {
  if (!options.bind) return
  if (mount.source === undefined || mount.source === '') {
    findings.problem(`${path}.source`, 'is absent, expected the file or directory to bind')
  }
  if (options.data.length > 0 && !options.remount) {
    // The kernel would ignore them without a word.
    findings.problem(`${path}.options`, `has ${JSON.stringify(options.data.join(','))}, which a bind mount can't have`)
  }
}

function validateIdMapping(
  mount: Mount,
  options: MountOptions,
  path: string,
  hasUserNamespace: boolean,
  findings: Findings,
): void {
  const { uidMappings, gidMappings } = mount
  const hasMappings = (uidMappings?.length ?? 0) > 0 || (gidMappings?.length ?? 0) > 0
  if (!hasMappings && options.idmap === null) return
  if (!options.bind) findings.problem(path, 'has an id mapping, expected it on a bind mount only')
  if (!hasMappings) {
    if (!hasUserNamespace) {
      findings.problem(
        `${path}.options`,
        `has ${options.idmap}, expected uidMappings and gidMappings or a user namespace`,
      )
    }
    return
  }
  for (const [name, mappings = []] of [['uidMappings', uidMappings] as const, ['gidMappings', gidMappings] as const]) {
    const problem = mappings.length === 0 ? 'is absent, expected it beside the other' : idMapProblem(mappings)
    if (problem !== undefined) findings.problem(`${path}.${name}`, mappings.length === 0 ? problem : `: ${problem}`)
  }
}

/** The same mount twice is a mistake; another one at the same place covers the first, which may be meant. */
function validateDuplicate(mount: Mount, path: string, seen: Map<string, Mount>, findings: Findings): void {
  const destination = cleanPath(mount.destination)
  const earlier = seen.get(destination)
  seen.set(destination, mount)
  if (earlier === undefined) return
  if (earlier.source === mount.source && earlier.type === mount.type) {
    findings.problem(path, `mounts ${JSON.stringify(mount.source ?? '')} on ${destination} a second time`)
  } else {
    findings.warning(path, `covers an earlier mount on ${destination}`)
  }
}

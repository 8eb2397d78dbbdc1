import { isAbsolute, join } from 'node:path'
import { BerthError } from '../lib/error.ts'
import type { Mount } from '../oci/runtime-spec.ts'

/**
 * The absolute source of a bind mount; a relative one is relative to the bundle (runtime-spec › Mounts).
 * @throws {BerthError} invalidArgument when there is none
 */
export function absoluteSource(mount: Mount, bundle: string): string {
  const source = mount.source
  if (source === undefined || source === '')
    throw new BerthError('invalidArgument', `Cannot bind at "${mount.destination}": the mount has no source`)
  return isAbsolute(source) ? source : join(bundle, source)
}

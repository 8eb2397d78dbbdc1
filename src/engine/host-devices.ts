import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { BerthError } from '../lib/error.ts'
import type { ContainerOptions, DeviceOption } from './container-options.ts'
import type { HostDevice } from './spec-input.ts'

/** The devices that a container asks for; a directory stands for all devices below it, as in Docker. */
export function findDevices(options: ContainerOptions): readonly HostDevice[] {
  const asked = options.privileged ? [{ hostPath: '/dev', path: '/dev', access: 'rwm' }] : options.devices
  const found = asked.flatMap(device => devicesAt(device, options.privileged))
  return options.privileged
    ? found.filter(({ path }) => !SPECIAL.some(special => path === special || path.startsWith(`${special}/`)))
    : found
}

/** What every container has of its own below /dev. */
const SPECIAL = [
  '/dev/pts',
  '/dev/shm',
  '/dev/mqueue',
  '/dev/console',
  '/dev/ptmx',
  '/dev/null',
  '/dev/zero',
  '/dev/full',
  '/dev/random',
  '/dev/urandom',
  '/dev/tty',
  '/dev/fd',
  '/dev/stdin',
  '/dev/stdout',
  '/dev/stderr',
  '/dev/core',
]

function devicesAt(device: DeviceOption, lenient: boolean): HostDevice[] {
  const stat = statSync(device.hostPath, { throwIfNoEntry: false })
  if (stat === undefined) {
    if (lenient) return []
    throw new BerthError('notFound', `Cannot use device "${device.hostPath}": it does not exist`)
  }
  if (stat.isDirectory())
    return readdirSync(device.hostPath, { withFileTypes: true })
      .filter(entry => entry.isDirectory() || entry.isCharacterDevice() || entry.isBlockDevice())
      .flatMap(({ name }) =>
        devicesAt({ ...device, hostPath: join(device.hostPath, name), path: join(device.path, name) }, true),
      )
  if (!stat.isCharacterDevice() && !stat.isBlockDevice()) {
    if (lenient) return []
    throw new BerthError('invalidArgument', `Cannot use device "${device.hostPath}": it is not a device node`)
  }
  const { major, minor } = deviceNumbers(stat.rdev)
  return [{ type: stat.isBlockDevice() ? 'b' : 'c', major, minor, ...device }]
}

/** dev_t as glibc packs it: 12 bits of major above 8 of minor, the rest of both further up. Source: makedev(3). */
function deviceNumbers(rdev: number): { readonly major: number; readonly minor: number } {
  const value = BigInt(rdev)
  const major = ((value >> 8n) & 0xfffn) | ((value >> 32n) & ~0xfffn)
  const minor = (value & 0xffn) | ((value >> 12n) & ~0xffn)
  return { major: Number(major), minor: Number(minor & 0xffff_ffffn) }
}

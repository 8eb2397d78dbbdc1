import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { hostname as hostHostname, release } from 'node:os'
import { join } from 'node:path'
import { initPath } from '../host/init-path.ts'
import { terminalSize } from '../host/terminal.ts'
import type { RunnableImage } from '../image/image.ts'
import { BerthError } from '../lib/error.ts'
import { formatJson } from '../lib/json-shape.ts'
import { capabilityNames } from '../linux/capabilities.ts'
import type { SeccompConfig } from '../linux/seccomp/config.ts'
import type { RuntimeSpec } from '../oci/runtime-spec.ts'
import type { RootSource } from '../runtime/container-input.ts'
import { heldCapabilities } from '../runtime/host-facts.ts'
import { thermalThrottlePath } from '../security/defaults.ts'
import type { IdRange } from '../security/id-ranges.ts'
import { hardenProfile } from '../security/seccomp-hardening.ts'
import { dockerProfile } from '../security/seccomp-profile.ts'
import { composeSpec, containerCapabilities } from './compose-spec.ts'
import { GENERATED_FILES } from './compose-spec-mounts.ts'
import type { ContainerOptions } from './container-options.ts'
import { findDevices } from './host-devices.ts'
import { resolveImageUser } from './image-user.ts'

/** A container that is described completely, and not made yet. */
export interface ContainerDescription {
  readonly id: string
  readonly spec: RuntimeSpec
  readonly root: RootSource
}

const NATIVE_ARCH = process.arch === 'arm64' ? 'aarch64' : 'x86_64'

/** Describes a container: reads the machine and the image, changes nothing. */
export async function describeContainer(
  id: string,
  options: ContainerOptions,
  image: RunnableImage,
  range: IdRange | null,
  directory: string,
): Promise<ContainerDescription> {
  const user = await resolveImageUser(options.user ?? image.config.user, options.groupAdd, image)
  const spec = composeSpec({
    id,
    options,
    image: image.config,
    user,
    range,
    directory,
    seccomp: seccompFor(options),
    cpuPaths: cpuPaths(),
    initPath: initPath(),
    devices: findDevices(options),
    available: heldCapabilities(),
    hardNofile: hardNofile(),
    consoleSize: terminalSize(),
  })
  const root: RootSource = {
    kind: 'overlay',
    lowers: image.lowers,
    upper: join(directory, 'upper'),
    work: join(directory, 'work'),
    veil: image.veil === undefined ? null : { owner: range?.start ?? 0, entries: image.veil },
  }
  return { id, spec, root }
}

function seccompFor(options: ContainerOptions): SeccompConfig | null {
  if (options.privileged || options.seccomp === null) return null
  if (options.seccomp !== 'builtin') return options.seccomp
  const capabilities = capabilityNames(containerCapabilities(options, heldCapabilities()))
  return hardenProfile(dockerProfile({ capabilities, arch: NATIVE_ARCH, kernelVersion: release() }))
}

function cpuPaths(): string[] {
  const paths: string[] = []
  for (let cpu = 0; existsSync(`/sys/devices/system/cpu/cpu${cpu}`); cpu++)
    if (existsSync(thermalThrottlePath(cpu))) paths.push(thermalThrottlePath(cpu))
  return paths
}

const NOFILE_LINE = /^Max open files\s+\S+\s+(\S+)/m

function hardNofile(): bigint | null {
  const hard = NOFILE_LINE.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  return hard === undefined || hard === 'unlimited' ? null : BigInt(hard)
}

/** Makes the container's directory: its layer, and the generated files, owned by the container's root. */
export function makeContainerDirectory(
  directory: string,
  description: ContainerDescription,
  options: ContainerOptions,
  range: IdRange | null,
): void {
  const owner = range?.start ?? 0
  for (const path of [
    directory,
    join(directory, 'upper'),
    join(directory, 'work'),
    join(directory, 'rootfs'),
    join(directory, 'log'),
  ])
    mkdirSync(path, { recursive: true, mode: path === directory || path.endsWith('log') ? 0o711 : 0o755 })
  chownSync(join(directory, 'upper'), owner, owner)
  const hostname = description.spec.hostname ?? hostHostname()
  const content: Record<(typeof GENERATED_FILES)[number], string> = {
    hostname: `${hostname}\n`,
    hosts: hostsFile(hostname, options),
    'resolv.conf': resolvFile(options),
  }
  for (const name of GENERATED_FILES) {
    writeFileSync(join(directory, name), content[name], { mode: 0o644 })
    chownSync(join(directory, name), owner, owner)
  }
  writeFileSync(join(directory, 'config.json'), formatJson(description.spec, '  '), { mode: 0o600 })
}

/** A line break in a name would be a line of its own in the file. */
function hostsFile(hostname: string, options: ContainerOptions): string {
  if (options.network === 'host' && options.extraHosts.length === 0) return readHostFile('/etc/hosts')
  const lines = ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost ip6-loopback', `127.0.1.1\t${hostname}`]
  for (const entry of options.extraHosts) {
    const at = entry.indexOf(':')
    if (at <= 0 || /\s/.test(entry))
      throw new BerthError('invalidArgument', `Cannot add host "${entry}": expected NAME:ADDRESS`)
    lines.push(`${entry.slice(at + 1).replace(/^\[(.*)\]$/, '$1')}\t${entry.slice(0, at)}`)
  }
  return `${lines.join('\n')}\n`
}

function resolvFile(options: ContainerOptions): string {
  return options.network === 'host' ? readHostFile('/etc/resolv.conf') : '# no network\n'
}

function readHostFile(path: string): string {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true ? readFileSync(path, 'utf8') : ''
}

/** Removes a container's directory. Its files are the container's work, its paths are not followed. Idempotent. */
export function removeContainerDirectory(directory: string): void {
  rmSync(directory, { recursive: true, force: true })
}

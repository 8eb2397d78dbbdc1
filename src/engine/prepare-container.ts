import { chownSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { hostname as hostHostname, release } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { Helper } from '../host/helper.ts'
import { initPath } from '../host/init-path.ts'
import { terminalSize } from '../host/terminal.ts'
import type { RunnableImage } from '../image/image.ts'
import { BerthError } from '../lib/error.ts'
import { formatJson } from '../lib/json-shape.ts'
import { capabilityMask, capabilityNames } from '../linux/capabilities.ts'
import { parseMountInfo } from '../linux/mountinfo.ts'
import { CLONE_NEWUSER } from '../linux/namespaces.ts'
import { O_DIRECTORY, O_RDONLY } from '../linux/open-flags.ts'
import type { SeccompConfig } from '../linux/seccomp/config.ts'
import type { RuntimeSpec } from '../oci/runtime-spec.ts'
import { parseRuntimeSpec } from '../oci/runtime-spec-parser.ts'
import { validateRuntimeSpec } from '../oci/runtime-validate.ts'
import { SlotTable } from '../plan/slots.ts'
import { step } from '../plan/step.ts'
import type { Bundle } from '../runtime/bundle.ts'
import type { RootSource } from '../runtime/container-input.ts'
import { heldCapabilities } from '../runtime/host-facts.ts'
import { writeIdMaps } from '../runtime/id-maps.ts'
import { thermalThrottlePath } from '../security/defaults.ts'
import type { IdRange } from '../security/id-ranges.ts'
import { hardenProfile } from '../security/seccomp-hardening.ts'
import { dockerProfile, resolveProfile } from '../security/seccomp-profile.ts'
import { removeDirectory } from '../snapshot/remove-directory.ts'
import type { LayerStack, SnapshotDriver } from '../snapshot/snapshot-driver.ts'
import { composeSpec, containerCapabilities } from './compose-spec.ts'
import { GENERATED_FILES } from './compose-spec-mounts.ts'
import type { ContainerOptions } from './container-options.ts'
import { findDevices } from './host-devices.ts'
import { resolveImageUser } from './image-user.ts'
import { hasMounts, makePatchwork, type Patchwork, type PatchworkInput, readPatchwork } from './patchwork.ts'
import { writeRootRecord } from './root-record.ts'
import { chooseCgroup, containerIds, isRootless } from './rootless.ts'

/** A container that is described completely, and not made yet. */
export interface ContainerDescription {
  readonly id: string
  readonly spec: RuntimeSpec
  readonly root: RootSource
  readonly stack: LayerStack
  /** How to make the root directory, when the root is a patchwork. */
  readonly patchwork: { readonly content: Patchwork; readonly input: PatchworkInput } | null
  readonly systemdCgroup: boolean
}

const NATIVE_ARCH = process.arch === 'arm64' ? 'aarch64' : 'x86_64'

/** Describes a container: reads the machine and the image, changes nothing. */
export async function describeContainer(
  id: string,
  options: ContainerOptions,
  image: RunnableImage,
  range: IdRange | null,
  directory: string,
  driver: SnapshotDriver,
): Promise<ContainerDescription> {
  if (options.hostname !== null) checkHostname(options.hostname)
  const user = await resolveImageUser(options.user ?? image.config.user, options.groupAdd, image)
  const { systemdCgroup, cgroupsPath } = await chooseCgroup(id, options)
  const available = heldCapabilities()
  const spec = composeSpec({
    id,
    options,
    image: image.config,
    user,
    ids: containerIds(options, range),
    rootless: isRootless(),
    cgroupsPath,
    directory,
    seccomp: seccompFor(options, available),
    cpuPaths: cpuPaths(),
    initPath: initPath(),
    devices: findDevices(options),
    available,
    hardNofile: hardNofile(available),
    consoleSize: terminalSize(),
  })
  return { id, spec, systemdCgroup, stack: stackOf(image), ...describeRoot(image, range, directory, driver) }
}

function describeRoot(
  image: RunnableImage,
  range: IdRange | null,
  directory: string,
  driver: SnapshotDriver,
): Pick<ContainerDescription, 'root' | 'patchwork'> {
  const root = driver.describe(directory, stackOf(image), range)
  if (root.kind !== 'overlay') return { root, patchwork: null }
  const { upper, work } = root
  const [lower = '/'] = image.lowers
  if (isRootless() && image.seed !== undefined)
    throw new BerthError(
      'notImplemented',
      `Cannot run image "${image.name}": it is on top of "host", and only root can put it there`,
    )
  if (isRootless() && image.lowers.length === 1) {
    const mountPoints = parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8')).map(each => each.mountPoint)
    if (hasMounts(lower, mountPoints)) {
      const input = { lower, upper, work, veil: image.veil ?? [], mountPoints }
      const content = readPatchwork(input)
      return { root: { kind: 'patchwork', path: upper, patches: content.patches }, patchwork: { content, input } }
    }
  }
  // With a seed it is in the upper directory from the beginning.
  const veil =
    image.veil === undefined || image.seed !== undefined ? null : { owner: range?.start ?? 0, entries: image.veil }
  return { root: { ...root, veil }, patchwork: null }
}

/** An image as what roots are made from. */
export function stackOf({ lowers, veil, seed }: RunnableImage): LayerStack {
  return { lowers, isHost: veil !== undefined, ...(seed !== undefined && { seed: { path: seed, veil: veil ?? [] } }) }
}

function seccompFor(options: ContainerOptions, available: bigint): SeccompConfig | null {
  if (options.seccomp === null) return null
  const capabilities = capabilityNames(containerCapabilities(options, available))
  const target = { capabilities, arch: NATIVE_ARCH, kernelVersion: release() } as const
  // A profile of the user's own is taken as it is.
  return options.seccomp === 'builtin' ? hardenProfile(dockerProfile(target)) : resolveProfile(options.seccomp, target)
}

function cpuPaths(): string[] {
  const paths: string[] = []
  for (let cpu = 0; existsSync(`/sys/devices/system/cpu/cpu${cpu}`); cpu++)
    if (existsSync(thermalThrottlePath(cpu))) paths.push(thermalThrottlePath(cpu))
  return paths
}

const NOFILE_LINE = /^Max open files\s+\S+\s+(\S+)/m

/** The limit that can't be raised; null when there is none, or the right to raise it. */
function hardNofile(available: bigint): bigint | null {
  if ((available & capabilityMask(['CAP_SYS_RESOURCE'])) !== 0n) return null
  const hard = NOFILE_LINE.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  return hard === undefined || hard === 'unlimited' ? null : BigInt(hard)
}

/** The description as the bundle that the runtime makes it from. */
export function bundleOf({ spec }: ContainerDescription, directory: string): Bundle {
  const warnings = validateRuntimeSpec(spec)
  return { path: directory, spec, configText: formatJson(spec), root: join(directory, 'rootfs'), warnings }
}

/** Makes the container's directory: its root, and the generated files, owned by the container's root. */
export async function makeContainerDirectory(
  directory: string,
  description: ContainerDescription,
  options: ContainerOptions,
  range: IdRange | null,
  driver: SnapshotDriver,
  signal?: AbortSignal,
): Promise<void> {
  const owner = range?.start ?? 0
  for (const path of [directory, join(directory, 'rootfs'), join(directory, 'log')])
    mkdirSync(path, { recursive: true, mode: path.endsWith('rootfs') ? 0o755 : 0o711 })
  // First, so that whoever finds the directory after a crash finds out which ids its files have.
  writeFileSync(join(directory, 'config.json'), formatJson(description.spec, '  '), { mode: 0o600 })
  await driver.create(directory, description.stack, range, signal)
  if (description.patchwork !== null) makePatchwork(description.patchwork.content, description.patchwork.input)
  const hostname = description.spec.hostname ?? hostHostname()
  const content: Record<(typeof GENERATED_FILES)[number], string> = {
    hostname: `${hostname}\n`,
    hosts: hostsFile(hostname, options),
    'resolv.conf': resolvFile(options),
  }
  for (const name of GENERATED_FILES) {
    writeFileSync(join(directory, name), content[name], { mode: 0o644 })
    if (range !== null) chownSync(join(directory, name), owner, owner)
  }
  writeRootRecord(directory, description.root, description.stack, options)
}

/** It becomes part of a line of generated files: a line break would make it a line of its own (CVE-2022-4318). */
function checkHostname(hostname: string): void {
  if (/[\0- \x7f]/.test(hostname))
    throw new BerthError(
      'invalidArgument',
      `Cannot use host name ${JSON.stringify(hostname)}: it has white space or control characters`,
    )
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
export async function removeContainerDirectory(
  directory: string,
  snapshots: () => Promise<SnapshotDriver>,
): Promise<void> {
  const config = join(directory, 'config.json')
  if (!existsSync(directory)) return
  if (isRootless() && existsSync(config)) return await removeMapped(directory, config)
  const driver = await snapshots()
  await driver.remove(directory)
  await removeDirectory(directory)
}

/** Files of a container's other users are out of reach for the user who ran it, except in a user namespace with the same ids. */
async function removeMapped(directory: string, config: string): Promise<void> {
  const { value: spec } = parseRuntimeSpec(readFileSync(config, 'utf8'))
  const parent = new SlotTable().allocate('directory of the containers')
  await using helper = new Helper()
  await helper.run([step('unshare', { flags: CLONE_NEWUSER }, "enter a user namespace with the container's ids")])
  await writeIdMaps(helper.pid, spec)
  await helper.run([
    step('open', { path: dirname(directory), flags: O_RDONLY | O_DIRECTORY, mode: 0, out: parent }, 'find it'),
    step('remove_tree', { dir: parent, name: basename(directory) }, "remove the container's directory"),
  ])
}

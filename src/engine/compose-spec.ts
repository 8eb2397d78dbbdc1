import { BerthError } from '../lib/error.ts'
import {
  CAPABILITIES,
  type Capability,
  capabilityMask,
  capabilityNames,
  parseCapability,
} from '../linux/capabilities.ts'
import type { Process, RuntimeSpec } from '../oci/runtime-spec.ts'
import { OCI_RUNTIME_SPEC_VERSION } from '../oci/runtime-spec.ts'
import type { Linux } from '../oci/runtime-spec-linux.ts'
import { CONTAINER_DEFAULTS, MASKED_PATHS, READONLY_PATHS } from '../security/defaults.ts'
import { composeMounts, isBoundDevice } from './compose-spec-mounts.ts'
import { composeResources } from './compose-spec-resources.ts'
import type { ContainerOptions } from './container-options.ts'
import { INIT_PATH, type SpecInput } from './spec-input.ts'

/** Options and image → OCI config. The one place where "what the user said" becomes "what the runtime is told". */
export function composeSpec(input: SpecInput): RuntimeSpec {
  const { options, id } = input
  return {
    ociVersion: OCI_RUNTIME_SPEC_VERSION,
    process: composeProcess(input),
    root: { path: 'rootfs', readonly: options.readonlyRoot },
    hostname: options.network === 'host' ? (options.hostname ?? undefined) : (options.hostname ?? id.slice(0, 12)),
    ...(options.domainname !== null && { domainname: options.domainname }),
    mounts: composeMounts(input),
    annotations: options.annotations,
    linux: composeLinux(input),
  } as RuntimeSpec
}

function composeProcess(input: SpecInput): Process {
  const { options, user } = input
  const names = capabilityNames(containerCapabilities(options, input.available))
  // A user who is not root gets no effective capabilities, as in Docker; the bounding set is what set-user-id programs could have.
  const held = user.uid === 0 ? names : []
  const { nofile } = CONTAINER_DEFAULTS
  const limits = options.ulimits.some(({ type }) => type === 'RLIMIT_NOFILE')
    ? options.ulimits
    : [{ type: 'RLIMIT_NOFILE', ...boundedNofile(nofile, input.hardNofile) }, ...options.ulimits]
  return {
    terminal: options.terminal,
    ...(input.consoleSize !== null &&
      options.terminal && { consoleSize: { height: input.consoleSize.rows, width: input.consoleSize.columns } }),
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    args: containerCommand(input),
    env: containerEnvironment(input),
    cwd: options.workdir ?? (input.image.workingDir === '' ? '/' : input.image.workingDir),
    capabilities: { bounding: names, effective: held, permitted: held, inheritable: [], ambient: [] },
    rlimits: limits,
    noNewPrivileges: options.noNewPrivileges,
    ...(options.appArmor !== null && { apparmorProfile: options.appArmor }),
    ...(options.seLinuxLabel !== null && { selinuxLabel: options.seLinuxLabel }),
    ...(options.oomScoreAdj !== null && { oomScoreAdj: options.oomScoreAdj }),
  }
}

/** The default must not need a right that the engine lacks, as in a container or on a host with a lower limit. */
function boundedNofile(
  wanted: { soft: bigint; hard: bigint },
  hardLimit: bigint | null,
): { soft: bigint; hard: bigint } {
  if (hardLimit === null || hardLimit >= wanted.hard) return wanted
  return { soft: wanted.soft > hardLimit ? hardLimit : wanted.soft, hard: hardLimit }
}

/** Entrypoint and command as Docker combines them: an entrypoint given replaces the image's command too. */
function containerCommand({ options, image }: Pick<SpecInput, 'options' | 'image'>): readonly string[] {
  const entrypoint = options.entrypoint ?? image.entrypoint
  const command = options.command.length > 0 ? options.command : options.entrypoint !== null ? [] : image.cmd
  const args = [...entrypoint, ...command]
  if (args.length === 0 || args[0] === '')
    throw new BerthError('invalidArgument', 'Cannot create container: no command specified')
  return options.init ? [INIT_PATH, 'init', '--', ...args] : args
}

function containerEnvironment({ options, image, id }: SpecInput): readonly string[] {
  const variables = new Map<string, string>([['PATH', '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin']])
  variables.set('HOSTNAME', options.hostname ?? id.slice(0, 12))
  if (options.terminal) variables.set('TERM', 'xterm')
  for (const entry of [...image.env, ...options.env]) {
    const equals = entry.indexOf('=')
    if (equals > 0) variables.set(entry.slice(0, equals), entry.slice(equals + 1))
  }
  return [...variables].map(([name, value]) => `${name}=${value}`)
}

/**
 * The bounding set: Docker's default, with what was added and dropped. `ALL` stands for every capability that can be given. A privileged
 * container starts with all, and loses what was dropped: to ignore that, as Docker does, would leave more than was asked for.
 */
export function containerCapabilities(
  options: Pick<ContainerOptions, 'privileged' | 'userns' | 'capAdd' | 'capDrop'>,
  available: bigint,
): bigint {
  // In a user namespace of its own a container can have all, whatever the engine has on the host.
  const all = options.userns === 'host' ? available : capabilityMask(CAPABILITIES)
  const drop = options.capDrop.map(readCapability)
  const add = options.capAdd.map(readCapability)
  const start = options.privileged ? all : capabilityMask(CONTAINER_DEFAULTS.capabilities)
  let mask = drop.includes('ALL') ? 0n : start
  if (add.includes('ALL')) mask = all
  for (const name of drop) if (name !== 'ALL') mask &= ~capabilityMask([name])
  for (const name of add) if (name !== 'ALL') mask |= capabilityMask([name])
  return mask
}

function readCapability(text: string): Capability | 'ALL' {
  if (/^(CAP_)?ALL$/i.test(text)) return 'ALL'
  const capability = parseCapability(text)
  if (capability === undefined)
    throw new BerthError('invalidArgument', `Cannot use capability "${text}": the kernel has none of that name`)
  return capability
}

function composeLinux(input: SpecInput): Linux {
  const { options, ids } = input
  const types = [
    'mount',
    'pid',
    'ipc',
    'uts',
    'cgroup',
    ...(ids === null ? [] : ['user']),
    ...(options.network === 'none' ? ['network'] : []),
  ]
  return {
    namespaces: types.map(type => ({ type })) as Linux['namespaces'] & {},
    ...ids,
    devices: input.devices
      .filter(device => !isBoundDevice(device, input))
      .map(({ type, path, major, minor }) => ({
        type,
        path,
        major,
        minor,
        fileMode: 0o666,
        uid: 0,
        gid: 0,
      })),
    resources: composeResources(input),
    ...(input.cgroupsPath !== null && { cgroupsPath: input.cgroupsPath }),
    sysctl: options.sysctl,
    ...(input.seccomp !== null && { seccomp: input.seccomp as NonNullable<Linux['seccomp']> }),
    maskedPaths: options.maskPaths ? [...MASKED_PATHS, ...input.cpuPaths] : [],
    readonlyPaths: options.maskPaths ? READONLY_PATHS : [],
    rootfsPropagation: 'private',
  }
}

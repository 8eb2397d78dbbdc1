import { existsSync, readFileSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import type { ContainerOptions, ImageSource, ResourceOptions, UlimitOption } from '../engine/container-options.ts'
import { parseByteSize } from '../lib/byte-size.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { parseRlimit, RLIM_INFINITY } from '../linux/rlimits.ts'
import { parsePlatform } from '../oci/platform.ts'
import { CONTAINER_DEFAULTS } from '../security/defaults.ts'
import { parseBind, parseDevice, parseTmpfs } from './mount-flags.ts'
import type { ParsedOptions } from './options.ts'
import { readSecurityOptions } from './security-options.ts'

/**
 * Command line → options of a new container.
 * @throws {BerthError} invalidArgument, naming the option
 */
export function readContainerOptions(parsed: ParsedOptions): ContainerOptions {
  const [image, ...command] = parsed.operands
  if (image === undefined)
    throw new BerthError('invalidArgument', 'Cannot run a container: no image given; see "berth run --help"')
  const privileged = parsed.flag('privileged')
  const entrypoint = parsed.value('entrypoint')
  return {
    image: readImage(image, parsed),
    command,
    entrypoint: entrypoint === undefined ? null : entrypoint === '' ? [] : [entrypoint],
    name: parsed.value('name') ?? null,
    hostname: parsed.value('hostname') ?? null,
    domainname: parsed.value('domainname') ?? null,
    env: [...parsed.values('env-file').flatMap(readEnvFile), ...parsed.values('env').flatMap(fromOurEnvironment)],
    workdir: readWorkdir(parsed.value('workdir')),
    user: parsed.value('user') ?? null,
    groupAdd: parsed.values('group-add'),
    labels: pairs(
      'label',
      parsed.values('label').map(label => (label.includes('=') ? label : `${label}=`)),
    ),
    annotations: pairs('annotation', parsed.values('annotation')),
    terminal: parsed.flag('tty'),
    interactive: parsed.flag('interactive'),
    autoRemove: parsed.flag('rm'),
    init: parsed.flag('init'),
    readonlyRoot: parsed.flag('read-only'),
    privileged,
    // A privileged container in a user namespace of its own would have none of the privileges that are asked for.
    userns: oneOf('userns', parsed.value('userns') ?? (privileged ? 'host' : 'auto'), ['auto', 'host'] as const),
    network: oneOf('network', parsed.value('network') ?? 'none', ['none', 'host'] as const),
    extraHosts: parsed.values('add-host'),
    binds: parsed.values('volume').map(parseBind),
    tmpfs: parsed.values('tmpfs').map(parseTmpfs),
    shmSizeBytes: Number(
      parseByteSize(parsed.value('shm-size') ?? String(CONTAINER_DEFAULTS.shmSizeBytes), '--shm-size'),
    ),
    devices: parsed.values('device').map(parseDevice),
    ulimits: parsed.values('ulimit').map(parseUlimit),
    sysctl: pairs('sysctl', parsed.values('sysctl')),
    capAdd: parsed.values('cap-add').flatMap(text => text.split(',')),
    capDrop: parsed.values('cap-drop').flatMap(text => text.split(',')),
    ...readSecurityOptions(parsed.values('security-opt'), privileged),
    oomScoreAdj: number('oom-score-adj', parsed.value('oom-score-adj'), -1000, 1000),
    cgroupParent: parsed.value('cgroup-parent') ?? null,
    resources: readResources(parsed),
  }
}

const LAYOUT_PREFIX = 'oci:'

/** `host`, `oci:DIR[:TAG]`, with `--rootfs` a root filesystem, else an image of the store by name or id. */
function readImage(text: string, parsed: ParsedOptions): ImageSource {
  const platformText = parsed.value('platform')
  const platform = platformText === undefined ? null : parsePlatform(platformText)
  const pull = oneOf('pull', parsed.value('pull') ?? 'missing', ['always', 'missing', 'never'] as const)
  if (parsed.flag('rootfs')) return localImage({ kind: 'rootfs', path: resolve(text) }, parsed)
  if (text === 'host') return localImage({ kind: 'host' }, parsed)
  if (text.startsWith(LAYOUT_PREFIX)) {
    const rest = text.slice(LAYOUT_PREFIX.length)
    const colon = rest.lastIndexOf(':')
    if (colon > 0 && !rest.slice(colon).includes('/'))
      return { kind: 'layout', path: resolve(rest.slice(0, colon)), tag: rest.slice(colon + 1), platform }
    return { kind: 'layout', path: resolve(rest), tag: null, platform }
  }
  // A path can't be the name of an image, which begins with a letter or digit.
  if (/^[./]/.test(text) && existsSync(`${text}/oci-layout`))
    return { kind: 'layout', path: resolve(text), tag: null, platform }
  if (/^[./]/.test(text))
    throw new BerthError(
      'notFound',
      `Cannot find image "${text}": there is no OCI layout, expected "host", "oci:DIR[:TAG]", a reference, or --rootfs and a directory`,
    )
  return { kind: 'stored', text, platform, pull }
}

/** What is taken from this machine as it is has no other platform than the machine's. */
function localImage(source: ImageSource, parsed: ParsedOptions): ImageSource {
  const given = ['platform', 'pull'].find(name => parsed.value(name) !== undefined)
  if (given === undefined) return source
  throw new BerthError(
    'invalidArgument',
    `Cannot use --${given}: the image is this machine's own, not one of a registry`,
  )
}

function readWorkdir(text: string | undefined): string | null {
  if (text === undefined) return null
  if (!isAbsolute(text))
    throw new BerthError('invalidArgument', `Cannot use working directory "${text}": expected an absolute path`)
  return text
}

/** `NAME` alone takes the value that we have; without one there is nothing to set. */
function fromOurEnvironment(entry: string): string[] {
  if (entry.includes('=')) {
    if (entry.startsWith('='))
      throw new BerthError('invalidArgument', `Cannot set environment variable "${entry}": it has no name`)
    return [entry]
  }
  const value = process.env[entry]
  return value === undefined ? [] : [`${entry}=${value}`]
}

function readEnvFile(path: string): string[] {
  try {
    const lines = readFileSync(path, 'utf8').split('\n')
    return lines
      .map(line => line.trimStart())
      .filter(line => line !== '' && !line.startsWith('#'))
      .flatMap(fromOurEnvironment)
  } catch (error) {
    throw new BerthError('invalidArgument', `Cannot read environment file "${path}": ${messageOf(error)}`, {
      cause: error,
    })
  }
}

function pairs(option: string, entries: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    entries.map(entry => {
      const equals = entry.indexOf('=')
      if (equals <= 0) throw new BerthError('invalidArgument', `Cannot use --${option} "${entry}": expected KEY=VALUE`)
      return [entry.slice(0, equals), entry.slice(equals + 1)]
    }),
  )
}

function oneOf<const T extends string>(option: string, text: string, allowed: readonly T[]): T {
  const found = allowed.find(each => each === text)
  if (found === undefined)
    throw new BerthError('invalidArgument', `Cannot use --${option} "${text}": expected ${allowed.join(' or ')}`)
  return found
}

function number(option: string, text: string | undefined, least: number, most: number): number | null {
  if (text === undefined) return null
  const value = Number(text)
  if (text.trim() === '' || !Number.isInteger(value) || value < least || value > most)
    throw new BerthError(
      'invalidArgument',
      `Cannot use --${option} "${text}": expected a whole number from ${least} to ${most}`,
    )
  return value
}

function parseUlimit(text: string): UlimitOption {
  const [name = '', values = ''] = text.split('=')
  const type = parseRlimit(name)
  const [soft, hard] = values
    .split(':')
    .map(value =>
      value === '-1' || value === 'unlimited' ? RLIM_INFINITY : /^\d+$/.test(value) ? BigInt(value) : null,
    )
  if (type === undefined || soft === undefined || soft === null || hard === null)
    throw new BerthError(
      'invalidArgument',
      `Cannot use --ulimit "${text}": expected TYPE=SOFT[:HARD] such as nofile=1024:2048`,
    )
  if (hard !== undefined && soft > hard)
    throw new BerthError('invalidArgument', `Cannot use --ulimit "${text}": the soft limit is above the hard one`)
  return { type, soft, hard: hard ?? soft }
}

/** The least a memory limit may be: below it not even the first program gets as far as its own code. */
const MEMORY_MINIMUM_BYTES = 6n * 1024n * 1024n

function readResources(parsed: ParsedOptions): ResourceOptions {
  const memory = parsed.value('memory')
  const swap = parsed.value('memory-swap')
  const reservation = parsed.value('memory-reservation')
  const memoryBytes = memory === undefined ? undefined : parseByteSize(memory, '--memory')
  if (memoryBytes !== undefined && memoryBytes < MEMORY_MINIMUM_BYTES)
    throw new BerthError('invalidArgument', `Cannot use --memory "${memory}": expected at least 6m`)
  if (swap !== undefined && memoryBytes === undefined)
    throw new BerthError('invalidArgument', 'Cannot use --memory-swap: it needs --memory')
  const memorySwapBytes = swap === undefined ? undefined : swap === '-1' ? -1n : parseByteSize(swap, '--memory-swap')
  if (memorySwapBytes !== undefined && memorySwapBytes !== -1n && memorySwapBytes < (memoryBytes ?? 0n))
    throw new BerthError('invalidArgument', `Cannot use --memory-swap "${swap}": it includes --memory, which is more`)
  const cpus = parsed.value('cpus')
  if (cpus !== undefined && !(Number(cpus) >= 0.01 && Number.isFinite(Number(cpus))))
    throw new BerthError('invalidArgument', `Cannot use --cpus "${cpus}": expected a number of at least 0.01`)
  const shares = number('cpu-shares', parsed.value('cpu-shares'), 2, 262_144)
  const pids = number('pids-limit', parsed.value('pids-limit'), -1, 4_194_304)
  const weight = number('blkio-weight', parsed.value('blkio-weight'), 10, 1000)
  const [cpusetCpus, cpusetMems] = [parsed.value('cpuset-cpus'), parsed.value('cpuset-mems')]
  return {
    ...(memoryBytes !== undefined && { memoryBytes }),
    ...(memorySwapBytes !== undefined && { memorySwapBytes }),
    ...(reservation !== undefined && { memoryReservationBytes: parseByteSize(reservation, '--memory-reservation') }),
    ...(cpus !== undefined && { cpus: Number(cpus) }),
    ...(shares !== null && { cpuShares: BigInt(shares) }),
    ...(cpusetCpus !== undefined && { cpusetCpus }),
    ...(cpusetMems !== undefined && { cpusetMems }),
    ...(pids !== null && { pidsLimit: BigInt(pids) }),
    ...(weight !== null && { blkioWeight: weight }),
  }
}

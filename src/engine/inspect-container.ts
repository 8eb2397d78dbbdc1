import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ImageRecords } from '../image/image-records.ts'
import type { Value } from '../lib/template/value.ts'
import type { Mount, RuntimeSpec } from '../oci/runtime-spec.ts'
import { parseRuntimeSpec } from '../oci/runtime-spec-parser.ts'
import { StateDirectory } from '../runtime/state-directory.ts'
import { RANGE_SIZE } from '../security/id-ranges.ts'
import { graphDriver } from '../snapshot/graph-driver.ts'
import { GENERATED_FILES } from './compose-spec-mounts.ts'
import { findContainerRow, type ListedContainer } from './list-containers.ts'
import { containerDirectory, type Engine } from './open-engine.ts'
import { type RootRecord, readRootRecord } from './root-record.ts'
import { INIT_PATH } from './spec-input.ts'

/** What the engine knows of a container, in the places where the Engine API has it. */
export type InspectedContainer = Readonly<Record<string, Value>>

/**
 * Describes a container by its name, id, or the beginning of its id, as `docker container inspect` does: from what was written down when
 * it was made, and what it does now. What the engine does not know is not there.
 * @throws {BerthError} notFound; invalidArgument: several, or a damaged record
 */
export async function inspectContainer(text: string, engine: Engine): Promise<InspectedContainer> {
  const row = findContainerRow(text, engine)
  const base = basics(row, engine)
  // Half made, or half removed: its directory says nothing yet.
  if (row.status === 'creating') return base
  const directory = containerDirectory(engine.roots, row.id)
  const { value: spec } = parseRuntimeSpec(readFileSync(join(directory, 'config.json'), 'utf8'))
  const record = readRootRecord(directory)
  const [path = '', ...args] = programOf(spec)
  return {
    ...base,
    Path: path,
    Args: args,
    ...files(directory),
    Driver: graphDriver((await engine.snapshots()).name, null).Name,
    Platform: 'linux',
    ProcessLabel: spec.process?.selinuxLabel ?? '',
    AppArmorProfile: spec.process?.apparmorProfile ?? '',
    HostConfig: hostConfig(row, spec),
    GraphDriver: await rootOf(row, record, directory, engine),
    Mounts: mountsOf(spec, directory).map(mountPoint),
    Config: config(row, spec, record),
  }
}

function basics(row: ListedContainer, engine: Engine): InspectedContainer {
  const status = row.status === 'stopped' ? 'exited' : row.status
  const isRunning = status === 'running' || status === 'paused'
  const pid = isRunning ? new StateDirectory(engine.roots.run, row.id).record()?.process.pid : undefined
  return {
    Id: row.id,
    Created: row.created,
    Path: '',
    Args: [],
    State: {
      Status: status,
      Running: isRunning,
      Paused: status === 'paused',
      Pid: pid ?? 0,
      ExitCode: row.exitCode ?? 0,
    },
    Image: imageIdOf(row, engine),
    Name: `/${row.name}`,
    HostConfig: { AutoRemove: row.autoRemove },
    Config: { Cmd: row.command, Image: row.image, Labels: new Map(Object.entries(row.labels)) },
  }
}

/** The digest of its image's config; the name of what has none: the machine itself, a directory, an image that has been removed. */
function imageIdOf({ image, imageDigest, manifestDigest }: ListedContainer, { database }: Engine): string {
  if (imageDigest === null) return image
  const records = new ImageRecords(database.sqlite).list()
  const manifests = records.filter(each => each.digest === imageDigest).flatMap(each => each.manifests)
  return manifests.find(({ digest }) => digest === manifestDigest)?.configDigest ?? image
}

/** What it runs, without the init of `--init` in front. */
function programOf(spec: RuntimeSpec): readonly string[] {
  const args = spec.process?.args ?? []
  return args[0] === INIT_PATH ? args.slice(INIT_WORDS) : args
}

/** The tmpfs that every container has. */
const KERNEL_TMPFS: readonly string[] = ['/dev', '/dev/shm']

/** `INIT_PATH init --`. */
const INIT_WORDS = 3

function files(directory: string): InspectedContainer {
  return {
    ResolvConfPath: join(directory, 'resolv.conf'),
    HostnamePath: join(directory, 'hostname'),
    HostsPath: join(directory, 'hosts'),
    LogPath: join(directory, 'log', 'container.log'),
  }
}

function hostConfig({ autoRemove, rangeStart }: ListedContainer, spec: RuntimeSpec): Value {
  const { memory, cpu, pids } = spec.linux?.resources ?? {}
  const namespaces = (spec.linux?.namespaces ?? []).map(({ type }) => type)
  const shm = spec.mounts?.find(({ destination }) => destination === '/dev/shm')
  return {
    AutoRemove: autoRemove,
    Init: spec.process?.args?.[0] === INIT_PATH,
    NetworkMode: namespaces.includes('network') ? 'none' : 'host',
    UsernsMode: rangeStart === null && !namespaces.includes('user') ? 'host' : '',
    ReadonlyRootfs: spec.root?.readonly ?? false,
    Memory: Number(memory?.limit ?? 0),
    MemoryReservation: Number(memory?.reservation ?? 0),
    MemorySwap: Number(memory?.swap ?? 0),
    CpuShares: Number(cpu?.shares ?? 0),
    CpuPeriod: Number(cpu?.period ?? 0),
    CpuQuota: Number(cpu?.quota ?? 0),
    CpusetCpus: cpu?.cpus ?? '',
    CpusetMems: cpu?.mems ?? '',
    PidsLimit: Number(pids?.limit ?? 0),
    OomScoreAdj: spec.process?.oomScoreAdj ?? 0,
    ShmSize: Number(shm?.options?.find(each => each.startsWith('size='))?.slice('size='.length) ?? 0),
    Tmpfs: new Map(tmpfsOf(spec).map(({ destination, options = [] }) => [destination, options.join(',')] as const)),
    Ulimits: (spec.process?.rlimits ?? []).map(({ type, soft, hard }) => ({
      Name: type.replace(/^RLIMIT_/, '').toLowerCase(),
      Soft: Number(soft),
      Hard: Number(hard),
    })),
  }
}

function config(row: ListedContainer, spec: RuntimeSpec, record: RootRecord): Value {
  return {
    Hostname: spec.hostname ?? '',
    Domainname: spec.domainname ?? '',
    User: record.config.user ?? userOf(spec),
    Tty: spec.process?.terminal ?? false,
    Env: spec.process?.env ?? [],
    Cmd: row.command.length > 0 ? row.command : null,
    Entrypoint: record.config.entrypoint ?? null,
    Image: row.image,
    WorkingDir: spec.process?.cwd ?? '',
    Labels: new Map(Object.entries(row.labels)),
  }
}

/** By numbers, where it is the image's; nothing for root, as docker has it. */
function userOf({ process }: RuntimeSpec): string {
  const { uid = 0, gid = 0 } = process?.user ?? {}
  return uid === 0 && gid === 0 ? '' : `${uid}:${gid}`
}

async function rootOf(
  { rangeStart }: ListedContainer,
  { lowers }: RootRecord,
  directory: string,
  engine: Engine,
): Promise<Value> {
  const driver = await engine.snapshots()
  if (lowers === null) return graphDriver(driver.name, null)
  const ids = rangeStart === null ? null : { start: rangeStart, size: RANGE_SIZE }
  return graphDriver(driver.name, driver.describe(directory, { lowers }, ids))
}

function tmpfsOf({ mounts = [] }: RuntimeSpec): readonly Mount[] {
  return mounts.filter(({ type, destination }) => type === 'tmpfs' && !KERNEL_TMPFS.includes(destination))
}

/** What users have asked to be mounted, without what every container has. */
function mountsOf({ mounts = [] }: RuntimeSpec, directory: string): readonly Mount[] {
  const own: readonly string[] = [INIT_PATH, '/sys', ...GENERATED_FILES.map(name => `/etc/${name}`)]
  const isOwn = ({ source = '', destination }: Mount): boolean =>
    own.includes(destination) && (source === '/sys' || destination === INIT_PATH || source.startsWith(`${directory}/`))
  return mounts.filter(mount => mount.type === 'bind' && !isOwn(mount))
}

const PROPAGATIONS = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave']

function mountPoint({ source = '', destination, options = [] }: Mount): Value {
  return {
    Type: 'bind',
    Source: source,
    Destination: destination,
    Mode: options.filter(each => !['bind', 'rbind', 'idmap', ...PROPAGATIONS].includes(each)).join(','),
    RW: !options.includes('ro'),
    Propagation: options.findLast(each => PROPAGATIONS.includes(each)) ?? '',
  }
}

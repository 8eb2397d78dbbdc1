/** A filesystem of its own for a snapshot driver, with a store of layers on it and containers whose roots the driver makes. */

import { spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exitCodeOf } from '../../src/linux/wait-status.ts'
import { defaultSpec } from '../../src/oci/default-spec.ts'
import { parseDigest } from '../../src/oci/digest.ts'
import type { RuntimeSpec } from '../../src/oci/runtime-spec.ts'
import { createContainer } from '../../src/runtime/create.ts'
import { deleteContainer } from '../../src/runtime/delete.ts'
import { LayerStore } from '../../src/snapshot/layer-store.ts'
import { driverProblem, openDriver } from '../../src/snapshot/open-driver.ts'
import type { DriverName, LayerStack, RootIds, SnapshotDriver } from '../../src/snapshot/snapshot-driver.ts'
import { sha256 } from '../image/layout-builder.ts'
import { type RequirementName, requirement } from '../support/requirement.ts'
import { type ArchiveEntry, archive } from '../support/tar-archive.ts'

export type Filesystem = 'ext4' | 'xfs' | 'btrfs'

/** What a suite needs of the machine. */
export interface BoxKind {
  readonly driver: DriverName
  readonly filesystem: Filesystem
}

/** Room for some images, and little enough to fill in a moment. mkfs.xfs takes no less than 300 MB. */
const FILESYSTEM_BYTES = 400 * 1024 * 1024
const UMOUNT_ATTEMPTS = 250
const IDS: RootIds = { start: 1_400_000, size: 65_536 }

const NEEDS: Readonly<Record<DriverName, readonly RequirementName[]>> = {
  overlay: ['overlay', 'kernel 6.5'],
  btrfs: [],
  'fuse-overlayfs': ['command fuse-overlayfs'],
  vfs: [],
  erofs: ['kernel 6.12'],
}

/** Why a suite can't run here, null when it can. */
export function missingFor({ driver, filesystem }: BoxKind): string | null {
  const names: readonly RequirementName[] = ['root', 'command busybox', `command mkfs.${filesystem}`, ...NEEDS[driver]]
  const missing = names.map(requirement).find(({ ok }) => !ok)
  if (missing !== undefined) return missing.reason
  if (driver === 'fuse-overlayfs' && spawnSync('test', ['-c', '/dev/fuse']).status !== 0) return 'needs /dev/fuse'
  return spawnSync('test', ['-c', '/dev/loop-control']).status === 0 ? null : 'needs loop devices'
}

/** The filesystem, mounted on a loop device for as long as a suite runs. */
export class Disk implements Disposable {
  readonly base: string = mkdtempSync(join(tmpdir(), 'berth-snapshot-'))
  readonly path: string = join(this.base, 'disk')
  #count = 0

  constructor(filesystem: Filesystem) {
    const image = join(this.base, 'image')
    mkdirSync(this.path)
    writeFileSync(image, '')
    truncateSync(image, FILESYSTEM_BYTES)
    must(`mkfs.${filesystem}`, filesystem === 'ext4' ? '-F' : '-f', '-q', image)
    must('mount', '-o', 'loop', image, this.path)
  }

  /** A directory that no test has used. */
  directory(): string {
    const path = join(this.path, String(this.#count++))
    mkdirSync(path)
    return path
  }

  [Symbol.dispose](): void {
    // A mount of an image holds its file until the kernel has ended the overlay above it, after the container's last process.
    for (let attempt = 1; spawnSync('umount', [this.path]).status !== 0; attempt++) {
      if (attempt === UMOUNT_ATTEMPTS) must('umount', this.path)
      Bun.sleepSync(20)
    }
    rmSync(this.base, { recursive: true, force: true })
  }
}

/** Runs a command of the machine; its output. */
export function must(command: string, ...args: readonly string[]): string {
  const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` }
  const { status, stdout, stderr } = spawnSync(command, args, { env, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${status}: ${stderr}`)
  return stdout
}

/** What a program in a container came to. */
export interface Ran {
  readonly status: number
  readonly output: string
}

/** A data root for one test. */
export class Box implements AsyncDisposable {
  readonly ids: RootIds = IDS
  readonly data: string
  readonly driver: SnapshotDriver
  readonly layers: LayerStore
  readonly #live: string
  #count = 0

  private constructor(data: string, driver: SnapshotDriver, layers: LayerStore) {
    this.data = data
    this.driver = driver
    this.layers = layers
    this.#live = mkdtempSync(join(tmpdir(), 'berth-snapshot-run-'))
  }

  static async open(kind: DriverName, data: string): Promise<Box> {
    const problem = await driverProblem(kind, data, { isRootless: false })
    if (problem !== null) throw new Error(problem)
    const driver = await openDriver(data, { asked: kind, isRootless: false })
    await driver.sweep()
    return new Box(data, driver, await LayerStore.open(data))
  }

  /** Layers of these entries, the lowest first, above one with busybox. */
  async stack(...layers: readonly (readonly ArchiveEntry[])[]): Promise<LayerStack> {
    const tars = [BASE, ...layers.map(entries => archive(...entries))]
    const made = []
    for (const tar of tars)
      made.push(
        await this.layers.unpack(parseDigest(sha256(tar)), async function* () {
          yield tar
        }),
      )
    return { lowers: made.map(({ path }) => path).reverse() }
  }

  /** A container that is not started. */
  async container(stack: LayerStack, ids: RootIds | null = this.ids): Promise<TestContainer> {
    const directory = this.newDirectory()
    await this.driver.create(directory, stack, ids)
    return new TestContainer(this.driver, directory, stack, ids, this.#live)
  }

  newDirectory(): string {
    const directory = join(this.data, 'containers', `c${this.#count++}`)
    mkdirSync(directory, { recursive: true, mode: 0o711 })
    return directory
  }

  /** Bytes in use on the filesystem, with nothing left to be written. */
  usedBytes(): number {
    must('sync', '-f', this.data)
    return Number(must('df', '-B1', '--output=used', this.data).split('\n')[1])
  }

  [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.#live, { recursive: true, force: true })
    return Promise.resolve()
  }
}

const APPLETS = [
  'sh',
  'cat',
  'ls',
  'stat',
  'touch',
  'rm',
  'mkdir',
  'echo',
  'sleep',
  'mknod',
  'chown',
  'dd',
  'ln',
  'mv',
  'id',
]
const BASE = archive(
  { name: 'bin/', type: '5', mode: 0o755 },
  { name: 'bin/busybox', content: readFileSync(Bun.which('busybox') ?? '/dev/null'), mode: 0o755 },
  ...APPLETS.map(name => ({ name: `bin/${name}`, type: '2', linkname: 'busybox' })),
  ...['dev/', 'proc/', 'd/'].map(name => ({ name, type: '5', mode: 0o755 })),
  { name: 'd/base', content: 'of the base' },
  { name: 'base', content: 'of the base' },
)

let containerCount = 0

/** A container whose root a driver has made. */
export class TestContainer {
  readonly directory: string
  readonly stack: LayerStack
  readonly #driver: SnapshotDriver
  readonly #ids: RootIds | null
  readonly #live: string

  /** `live`: a directory for what is there while it runs. */
  constructor(driver: SnapshotDriver, directory: string, stack: LayerStack, ids: RootIds | null, live: string) {
    this.#driver = driver
    this.directory = directory
    this.stack = stack
    this.#ids = ids
    this.#live = live
  }

  /** Runs a script in it to its end. */
  async run(script: string, uid = 0): Promise<Ran> {
    const started = await this.start(script, uid)
    const status = exitCodeOf((await started.exited()) ?? -1)
    await started.end()
    return { status, output: started.output() }
  }

  /** Looks at its root from the host, by a path that leads into its mounts: owners are those of the host. */
  async look<T>(see: (root: string) => T | Promise<T>): Promise<T> {
    const started = await this.start('sleep 1000', 0)
    try {
      return await see(`/proc/${started.pid}/root`)
    } finally {
      await started.end()
    }
  }

  /** Starts a script; whoever starts it ends it. */
  async start(script: string, uid: number) {
    const { directory, stack } = this
    const [driver, ids, live] = [this.#driver, this.#ids, this.#live]
    await driver.activate(directory, stack, ids)
    const id = `snapshot-${process.pid}-${containerCount++}`
    const bundle = join(live, id)
    mkdirSync(join(bundle, 'rootfs'), { recursive: true })
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(specOf(script, uid, ids)))
    const outputPath = join(bundle, 'output')
    const output = openSync(outputPath, 'w')
    const options = { root: join(live, 'state'), systemdCgroup: false, warn: () => undefined }
    const created = await createContainer(id, {
      ...options,
      bundle,
      rootSource: driver.describe(directory, stack, ids),
      consoleSocket: null,
      pidFile: null,
      preservedFds: 0,
      pivot: true,
      newKeyring: true,
      start: 'now',
      ending: { kind: 'wait' },
      stdio: ['ignore', output, output],
    })
    closeSync(output)
    return {
      pid: created.pid,
      exited: created.exited,
      output: () => readFileSync(outputPath, 'utf8'),
      end: () => deleteContainer(id, { ...options, force: true }),
    }
  }

  async remove(): Promise<void> {
    await this.#driver.remove(this.directory)
  }
}

const CAPABILITIES = ['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER', 'CAP_MKNOD', 'CAP_SETFCAP', 'CAP_FSETID']

function specOf(script: string, uid: number, ids: RootIds | null): RuntimeSpec {
  const spec = defaultSpec()
  const mapping = ids === null ? [] : [{ containerID: 0, hostID: ids.start, size: ids.size }]
  const kept = uid === 0 ? CAPABILITIES : []
  return {
    ...spec,
    root: { path: 'rootfs', readonly: false },
    process: {
      cwd: '/',
      terminal: false,
      user: { uid, gid: uid },
      args: ['/bin/sh', '-c', script],
      env: ['PATH=/bin'],
      noNewPrivileges: false,
      capabilities: { bounding: CAPABILITIES, effective: kept, permitted: kept },
    },
    mounts: (spec.mounts ?? []).filter(({ destination }) => destination === '/proc' || destination === '/dev'),
    linux: {
      namespaces: [...(spec.linux?.namespaces ?? []), ...(ids === null ? [] : [{ type: 'user' as const }])],
      ...(ids !== null && { uidMappings: mapping, gidMappings: mapping }),
    },
  }
}

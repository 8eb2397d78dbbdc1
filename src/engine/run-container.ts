import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ownIdentity } from '../host/process-identity.ts'
import { connectShim, type ShimConnection } from '../host/shim-client.ts'
import type { RunnableImage } from '../image/image.ts'
import { ImageRecords } from '../image/image-records.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { SHIM_SOCKET } from '../runtime/compose-shim.ts'
import type { FoundContainer } from '../runtime/container-state.ts'
import { type CreatedContainer, type CreateOptions, createContainer } from '../runtime/create.ts'
import { destroyContainer } from '../runtime/delete.ts'
import { startContainer } from '../runtime/start.ts'
import { CONTAINER_DEFAULTS } from '../security/defaults.ts'
import { checkName, generateName, newContainerId } from './container-name.ts'
import type { BindOption, ContainerOptions } from './container-options.ts'
import { containerDirectory, type Engine } from './open-engine.ts'
import { openImage } from './open-image.ts'
import {
  bundleOf,
  type ContainerDescription,
  describeContainer,
  makeContainerDirectory,
  removeContainerDirectory,
} from './prepare-container.ts'
import { isRootless } from './rootless.ts'
import type { StateDatabase } from './state-database.ts'

/** A container of the engine that is there and waits for its start. */
export interface EngineContainer {
  readonly id: string
  readonly name: string
  readonly directory: string
  readonly autoRemove: boolean
  readonly created: CreatedContainer
}

/**
 * Makes a container from options, with its shim, up to the point where only `start` is missing. When it throws, nothing is
 * left but the directories that were made for bind mounts: those are the user's.
 * @throws {BerthError} conflict: the name is in use; notFound, invalidArgument: image and options; StepError: a kernel call failed
 */
export async function makeContainer(options: ContainerOptions, engine: Engine): Promise<EngineContainer> {
  const { roots } = engine
  const name = options.name === null ? generateName() : checkName(options.name)
  const image = await openImage(options.image, engine)
  using _borrowed = image.borrowed?.lease ?? null
  const id = newContainerId()
  const directory = containerDirectory(roots, id)
  const { database } = engine
  const driver = await engine.snapshots()
  await using undo = new AsyncDisposableStack()
  const row = {
    id,
    name,
    image: image.name,
    imageDigest: image.stored?.image ?? null,
    manifestDigest: image.stored?.manifest.digest ?? null,
    command: options.command,
    labels: options.labels,
    created: new Date().toISOString(),
    autoRemove: options.autoRemove,
    client: ownIdentity(),
  }
  const range = database.add(row, options.userns === 'auto' && !isRootless(), () => keepFor(id, image, database))
  undo.defer(() => database.remove(id))
  undo.defer(() => removeContainerDirectory(directory, engine.snapshots))
  const description = await describeContainer(id, options, image, range, directory, driver)
  options.binds.forEach(makeBindSource)
  await makeContainerDirectory(directory, description, options, range, driver, engine.signal)
  await driver.activate(directory, description.stack, range)
  const create = createOptions(description, directory, options, engine)
  const created = await createContainer(id, create, bundleOf(description, directory))
  undo.move()
  return { id, name, directory, autoRemove: options.autoRemove, created }
}

/** From now on the image's content stays as long as the container does, whatever becomes of the image. */
function keepFor(id: string, { stored, borrowed }: RunnableImage, database: StateDatabase): void {
  const records = new ImageRecords(database.sqlite)
  if (stored !== undefined) records.keepFor(id, stored.image, stored.manifest, Date.now())
  if (borrowed !== undefined) records.keepLayersFor(id, borrowed.diffIds)
}

/** As with docker, a directory to bind that does not exist is made. */
function makeBindSource({ source }: BindOption): void {
  if (statSync(source, { throwIfNoEntry: false }) !== undefined) return
  try {
    mkdirSync(source, { recursive: true })
  } catch (error) {
    throw new BerthError('invalidArgument', `Cannot make directory "${source}" to bind: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

/** How the runtime makes a container of the engine: with a shim that logs, waiting for its start. */
export function createOptions(
  description: ContainerDescription,
  directory: string,
  options: ContainerOptions,
  engine: Pick<Engine, 'roots' | 'warn'>,
): CreateOptions {
  const { log } = CONTAINER_DEFAULTS
  return {
    ...runtimeOptions(engine),
    systemdCgroup: description.systemdCgroup,
    bundle: directory,
    rootSource: description.root,
    consoleSocket: null,
    pidFile: null,
    preservedFds: 0,
    pivot: true,
    newKeyring: true,
    start: 'on request',
    ending: {
      kind: 'serve',
      stdin: options.interactive,
      log: { directory: join(directory, 'log'), name: 'container.log', ...log },
    },
    stdio: ['ignore', 'ignore', 'ignore'],
  }
}

function runtimeOptions(engine: Pick<Engine, 'roots' | 'warn'>): {
  root: string
  systemdCgroup: boolean
  warn: (message: string) => void
} {
  return { root: engine.roots.run, systemdCgroup: false, warn: engine.warn }
}

/** Connects to a container's shim. */
export async function attachContainer(
  container: EngineContainer,
  handlers: {
    readonly onStdout: (bytes: Uint8Array) => void | Promise<void>
    readonly onStderr: (bytes: Uint8Array) => void | Promise<void>
  },
): Promise<ShimConnection> {
  const shim = await connectShim(join(container.created.directory.path, SHIM_SOCKET), handlers)
  await shim.attach({ stdout: true, stderr: true })
  return shim
}

/** Starts a container that was made. */
export async function startEngineContainer(container: EngineContainer, engine: Engine): Promise<void> {
  await startContainer(container.id, runtimeOptions(engine))
}

/** Puts away a container whose process has ended: all of it with `--rm`, else what is not needed to look at it again. */
export async function putAway(container: EngineContainer, exitCode: number, engine: Engine): Promise<void> {
  const found: FoundContainer = { ...container.created, status: 'stopped' }
  await destroyContainer(found, runtimeOptions(engine))
  const { database } = engine
  if (!container.autoRemove) {
    database.ended(container.id, exitCode)
    return
  }
  await removeContainerDirectory(container.directory, engine.snapshots)
  database.remove(container.id)
}

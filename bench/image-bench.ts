import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DockerDaemon } from '../test/support/docker-daemon.ts'
import { type RegistryServer, startRegistry } from '../test/support/registry.ts'
import { type BenchImage, type BenchImageName, makeBenchImage } from './bench-image.ts'
import { runScript } from './timed-turns.ts'

const PUSH_LIMIT_MS = 120_000

/** What the suites of images share: a registry on loopback, images in it, a Docker daemon. All of it goes when it is disposed. */
export class ImageBench implements AsyncDisposable {
  /** The compiled program, with berth-init beside it. */
  readonly berth: string
  /** On the filesystem of all contenders. */
  readonly directory: string
  readonly registry: RegistryServer
  /** Absolute, with the variables that docker needs; null: there is none, see `dockerRefusal`. */
  readonly docker: string | null
  readonly dockerRefusal: string | null
  readonly #undo: AsyncDisposableStack
  readonly #images = new Map<BenchImageName, Promise<BenchImage>>()

  private constructor(
    berth: string,
    directory: string,
    registry: RegistryServer,
    docker: DockerDaemon | string,
    undo: AsyncDisposableStack,
  ) {
    this.berth = berth
    this.directory = directory
    this.registry = registry
    this.docker = typeof docker === 'string' ? null : `HOME=${directory} DOCKER_HOST=${docker.host} docker`
    this.dockerRefusal = typeof docker === 'string' ? docker : null
    this.#undo = undo
  }

  /** Starts everything below a directory of the caller. */
  static async open(root: string, directory: string): Promise<ImageBench> {
    await using undo = new AsyncDisposableStack()
    mkdirSync(join(directory, 'work'), { recursive: true })
    undo.defer(() => rmSync(join(directory, 'work'), { recursive: true, force: true }))
    undo.defer(() => rmSync(join(directory, 'images'), { recursive: true, force: true }))
    const registry = undo.use(await startRegistry())
    const docker = await startDocker(join(directory, 'docker'))
    if (typeof docker !== 'string') {
      undo.defer(() => rmSync(join(directory, 'docker'), { recursive: true, force: true }))
      undo.use(docker)
    }
    return new ImageBench(join(root, 'dist/berth'), directory, registry, docker, undo.move())
  }

  /** An image, made the first time, and in the registry. */
  image(name: BenchImageName): Promise<BenchImage> {
    const made = this.#images.get(name) ?? this.#make(name)
    this.#images.set(name, made)
    return made
  }

  /** Its name in the registry. */
  reference(name: string): string {
    return `${this.registry.host}/${name}:bench`
  }

  /** A place for what one contender writes. */
  place(name: string): string {
    return join(this.directory, 'work', name)
  }

  async #make(name: BenchImageName): Promise<BenchImage> {
    console.error(`bench: make image ${name}`)
    const image = await makeBenchImage(name, join(this.directory, 'images'))
    const to = `docker://${this.reference(name)}`
    const copy = `skopeo copy -q --insecure-policy --dest-tls-verify=false oci:${image.layout}:bench ${to}`
    await runScript(copy, PUSH_LIMIT_MS)
    return image
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#undo.disposeAsync()
  }
}

/** A daemon with the storage that it has by default, or why there is none. */
async function startDocker(directory: string): Promise<DockerDaemon | string> {
  if (Bun.which('dockerd') === null || Bun.which('docker') === null) return 'not installed'
  try {
    return await DockerDaemon.start(directory, 'overlay2')
  } catch (error) {
    rmSync(directory, { recursive: true, force: true })
    return error instanceof Error ? (error.message.trim().split('\n').at(-1) ?? '') : String(error)
  }
}

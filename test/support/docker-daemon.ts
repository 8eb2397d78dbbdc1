/** A Docker daemon for one test or benchmark: in its own namespaces, with everything of it in a temporary directory. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../runtime/verbs-machine.ts'

const PATH = `${process.env['PATH']}:/usr/sbin:/sbin`

export class DockerDaemon implements AsyncDisposable {
  /** What `DOCKER_HOST` has to be to reach it. */
  readonly host: string
  readonly #directory: string
  readonly #daemon: Bun.Subprocess

  private constructor(directory: string, daemon: Bun.Subprocess) {
    this.host = `unix://${join(directory, 'sock')}`
    this.#directory = directory
    this.#daemon = daemon
  }

  /** Starts it and waits until it answers; `directory` is made, and removed by whoever owns its parent. */
  static async start(directory: string, storageDriver: 'vfs' | 'overlay2' = 'vfs'): Promise<DockerDaemon> {
    mkdirSync(directory)
    // Its pid namespace takes containerd along; its mounts go with the mount namespace. vfs and no bridge: no kernel feature is needed.
    // It ends with who started it, also when that is killed.
    const namespaces = [
      'setpriv',
      '--pdeathsig=KILL',
      'unshare',
      '--mount',
      '--pid',
      '--fork',
      '--kill-child',
      '--mount-proc',
    ]
    const roots = ['data-root', 'exec-root'].map(name => `--${name}=${join(directory, name)}`)
    const options = ['--iptables=false', '--ip6tables=false', '--bridge=none', `--storage-driver=${storageDriver}`]
    const places = [`--host=unix://${join(directory, 'sock')}`, `--pidfile=${join(directory, 'pid')}`]
    const log = Bun.file(join(directory, 'log'))
    const command = [...namespaces, 'dockerd', ...options, ...roots, ...places]
    const process = Bun.spawn(command, { stdio: ['ignore', log, log], env: { PATH } })
    const daemon = new DockerDaemon(directory, process)
    await using undo = new AsyncDisposableStack()
    undo.use(daemon)
    await until(() => {
      if (process.exitCode !== null) throw new Error(`dockerd ended: ${readFileSync(join(directory, 'log'), 'utf8')}`)
      return existsSync(join(directory, 'sock')) && daemon.#try('version').status === 0
    })
    undo.move()
    return daemon
  }

  /** `docker ARGS`; what it prints. */
  docker(...args: readonly string[]): string {
    const { status, stdout, stderr } = this.#try(...args)
    if (status !== 0) throw new Error(`docker ${args.join(' ')}: ${status} ${stderr}`)
    return stdout
  }

  #try(...args: readonly string[]) {
    const env = { PATH, HOME: this.#directory, DOCKER_HOST: this.host }
    return spawnSync('docker', args, { env, encoding: 'utf8' })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // unshare(1) blocks SIGTERM while it waits; with its end the kernel ends all of the pid namespace.
    this.#daemon.kill('SIGKILL')
    await this.#daemon.exited
  }
}

/** Images go to other engines and come back: the same id, and trees that are the same file by file. */
import { describe, expect } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { type LayoutBuilder, tagged } from '../image/layout-builder.ts'
import { run, treeOf } from '../image/tree.ts'
import { DockerDaemon } from '../support/docker-daemon.ts'
import { testIf } from '../support/requirement.ts'
import { archive } from '../support/tar-archive.ts'
import { StoreBox } from './store-box.ts'

const NAME = 'example.com/exchange:1'

const CREATED = '2020-01-02T03:04:05Z'
const HISTORY = [
  { created: CREATED, created_by: 'lower' },
  { created: CREATED, created_by: 'env', empty_layer: true },
  { created: CREATED, created_by: 'upper', comment: 'last' },
]

const LOWER = archive(
  { name: 'etc/', type: '5', mode: 0o755 },
  { name: 'etc/kept', content: 'kept', uid: 1000, gid: 2_200_000, mtime: 1_234_567_890 },
  { name: 'etc/gone', content: 'gone' },
  { name: 'bin/', type: '5', mode: 0o755 },
  { name: 'bin/tool', content: '#!', mode: 0o4755 },
  { name: 'bin/same', type: '1', linkname: 'bin/tool' },
  { name: 'bin/link', type: '2', linkname: '../etc/kept' },
  { name: 'tmp/', type: '5', mode: 0o1777 },
  { name: 'pipe', type: '6' },
)
const UPPER = archive(
  { name: 'etc/.wh.gone', content: '' },
  { name: 'etc/new', content: 'new', mode: 0o600, pax: { mtime: '1600000000.123456789', 'SCHILY.xattr.user.k': 'v' } },
  { name: 'é', content: 'é', pax: { path: Buffer.from('é').toString('latin1') } },
)

/** An image in a layout; its tree, unpacked by umoci. */
class Exchange implements Disposable {
  readonly box = new StoreBox()
  readonly layout: LayoutBuilder = this.box.layout('original')
  readonly original: string[]
  readonly id: string

  constructor() {
    const config = { Env: ['A=b'], Cmd: ['/bin/tool'], Labels: { k: 'v' } }
    const manifest = this.layout.image([LOWER, UPPER], { config, platform: { created: CREATED, history: HISTORY } })
    this.layout.finish(tagged(manifest, 'x'))
    this.original = this.unpacked(this.layout.path)
    const raw = run('skopeo', 'inspect', '--raw', `oci:${this.layout.path}:x`).toString()
    this.id = (JSON.parse(raw) as { config: { digest: string } }).config.digest
  }

  unpacked(layout: string): string[] {
    const bundle = this.box.path(`bundle-${crypto.randomUUID()}`)
    run('umoci', 'unpack', '--image', `${layout}:x`, bundle)
    return treeOf(`${bundle}/rootfs`)
  }

  /** Loads an archive into a new store, and checks all that must be the same. */
  async check(archivePath: string): Promise<void> {
    using other = new StoreBox()
    expect(await other.ok('load', '-i', archivePath)).toBe(`Loaded image: ${NAME}\n`)
    expect(await other.ok('images', '--no-trunc', '--quiet')).toBe(`${this.id}\n`)
    await other.ok('save', '-o', other.path('out.tar'), NAME)
    const layout = other.path('layout')
    run('skopeo', 'copy', '--quiet', `docker-archive:${other.path('out.tar')}`, `oci:${layout}:x`)
    expect(this.unpacked(layout)).toEqual(this.original)
    expect(await other.ok('image', 'verify')).toBe('All content is as its digests say.\n')
  }

  /** An archive that berth has written. */
  async saved(format: string): Promise<string> {
    const source = this.box.path(`source-${format}.tar`)
    run('skopeo', 'copy', '--quiet', `oci:${this.layout.path}:x`, `docker-archive:${source}:${NAME}`)
    await this.box.ok('load', '-i', source)
    const path = this.box.path(`${format}.tar`)
    await this.box.ok('save', '--format', format, '-o', path, NAME)
    return path
  }

  [Symbol.dispose](): void {
    this.box[Symbol.dispose]()
  }
}

const exchangeTest = (name: string, commands: readonly string[], work: (exchange: Exchange) => Promise<void>): void => {
  const needs = commands.map(command => `command ${command}` as const)
  testIf(
    'root',
    'command skopeo',
    'command umoci',
    ...needs,
  )(
    name,
    async () => {
      using exchange = new Exchange()
      await work(exchange)
    },
    60_000,
  )
}

describe('an image comes back the same', () => {
  for (const format of ['docker-archive', 'oci-archive']) {
    exchangeTest(`from skopeo's ${format}`, [], async exchange => {
      const path = exchange.box.path('skopeo.tar')
      run('skopeo', 'copy', '--quiet', `oci:${exchange.layout.path}:x`, `${format}:${path}:${NAME}`)
      await exchange.check(path)
    })

    exchangeTest(`through skopeo, which reads berth's ${format}`, [], async exchange => {
      const source = await exchange.saved(format)
      const path = exchange.box.path('skopeo.tar')
      run('skopeo', 'copy', '--quiet', `${format}:${source}`, `${format}:${path}:${NAME}`)
      await exchange.check(path)
    })

    exchangeTest(`through podman, as ${format}`, ['podman'], async exchange => {
      const source = await exchange.saved(format)
      const roots = ['--root', exchange.box.path('podman'), '--runroot', exchange.box.path('podman-run')]
      const podman = (...args: readonly string[]) => run('podman', ...roots, '--storage-driver', 'vfs', ...args)
      expect(podman('load', '--quiet', '-i', source).toString()).toContain(NAME)
      const path = exchange.box.path('podman.tar')
      podman('save', '--quiet', '--format', format, '-o', path, NAME)
      await exchange.check(path)
    })

    exchangeTest(`through buildah, as ${format}`, ['buildah'], async exchange => {
      const source = await exchange.saved(format)
      const roots = ['--root', exchange.box.path('buildah'), '--runroot', exchange.box.path('buildah-run')]
      const buildah = (...args: readonly string[]) => run('buildah', ...roots, '--storage-driver', 'vfs', ...args)
      const id = buildah('pull', '--quiet', `${format}:${source}`).toString().trim()
      const path = exchange.box.path('buildah.tar')
      buildah('push', '--quiet', id, `${format}:${path}:${NAME}`)
      await exchange.check(path)
    })
  }

  exchangeTest('through dockerd, which loads and saves it', ['dockerd', 'docker', 'unshare'], async exchange => {
    const source = await exchange.saved('docker-archive')
    await using daemon = await DockerDaemon.start(exchange.box.path('docker'))
    expect(daemon.docker('load', '-i', source)).toBe(`Loaded image: ${NAME}\n`)
    expect(daemon.docker('images', '--no-trunc', '--quiet')).toBe(`${exchange.id}\n`)
    const path = exchange.box.path('docker.tar')
    daemon.docker('save', '-o', path, NAME)
    await exchange.check(path)
    await sameTables(exchange, daemon)
  })
})

/** What berth prints of the same image is what docker prints, but for what only one of them knows. */
async function sameTables({ box }: Exchange, daemon: DockerDaemon): Promise<void> {
  const both = async (...args: readonly string[]) => [await box.ok(...args), daemon.docker(...args)] as const
  for (const format of [
    '{{.Repository}} {{.Tag}} {{.ID}} {{.CreatedSince}} {{.Size}} {{.VirtualSize}}',
    'table {{.ID}}\\t{{.Tag}}',
  ]) {
    const [ours, theirs] = await both('images', '--format', format)
    expect(ours).toBe(theirs.replaceAll(/ +$/gm, ''))
  }
  const [history, docker] = await both(
    'history',
    '--format',
    '{{.ID}} {{.Size}} {{.CreatedBy}} {{.CreatedSince}} {{.Comment}}',
    NAME,
  )
  expect(history).toBe(docker)
  const fields =
    '{{.Id}} {{.Os}}/{{.Architecture}} {{.Size}} {{.RootFS.Type}} {{json .RootFS.Layers}} {{json .Config.Env}} {{json .Config.Labels}}'
  const [inspected, dockers] = await both('inspect', '--format', fields, NAME)
  expect(inspected).toBe(dockers)
  const [ours, theirs] = (await both('inspect', NAME)).map(text => JSON.parse(text)[0] as Record<string, unknown>)
  const known = Object.keys(ours ?? {})
  const gone = ['Container', 'ContainerConfig', 'VirtualSize']
  expect(Object.keys(theirs ?? {}).filter(key => !known.includes(key) && !gone.includes(key))).toEqual([])
}

testIf('command docker')('docker of this machine understands templates as berth does', async () => {
  using box = new StoreBox()
  const template =
    '{{range $i, $e := split "a,b" ","}}{{if $i}} {{end}}{{upper $e}}{{end}} {{printf "%05.1f|%-4q" 2.25 "x"}}'
  const { stdout } = spawnSync('docker', ['context', 'inspect', '--format', template], {
    env: { PATH: process.env['PATH'], HOME: box.base },
    encoding: 'utf8',
  })
  const { Template } = await import('../../src/lib/template/template.ts')
  expect(`${Template.parse(template).execute(null)}\n`).toBe(stdout)
})

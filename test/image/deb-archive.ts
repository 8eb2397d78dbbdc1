/** A package archive for tests: tiny packages, signed, served on loopback. Its "dpkg" is a shell script that writes down what it is told. */
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { createCleartextMessage, generateKey, type PrivateKey, readPrivateKey, sign } from 'openpgp'
import { TarWriter } from '../../src/lib/tar/writer.ts'
import { sha256 } from './layout-builder.ts'

/** A file of a package. */
export interface DebFile {
  readonly name: string
  readonly content: string | Uint8Array
  readonly mode?: number
  readonly type?: 'file' | 'symlink'
}

/** A package. */
export interface TestPackage {
  readonly name: string
  readonly fields?: Readonly<Record<string, string>>
  readonly files: readonly DebFile[]
}

const DPKG = `#!/bin/sh
case "$*" in
  *--audit*) [ ! -e /etc/broken ] || cat /etc/broken ;;
  *--configure*) echo "configured $SOURCE_DATE_EPOCH" >> /var/lib/dpkg/calls; [ ! -e /etc/unfit ] || { echo "cannot configure unfit"; exit 1; } ;;
  *) echo "$*" >> /var/lib/dpkg/calls ;;
esac
`

/** What it takes for the script that configures packages to run. */
export function basePackages(): readonly TestPackage[] {
  const tools = ['sh', 'cat', 'chmod', 'cp', 'find', 'ln', 'mkdir', 'rm']
  return [
    {
      name: 'base-files',
      fields: { Essential: 'yes', 'Pre-Depends': 'busybox' },
      files: [
        { name: './etc/os-release', content: 'NAME=Test\n' },
        { name: './var/lib/dpkg/info/x', content: '' },
        { name: './var/log/install.log', content: 'today' },
        { name: './var/cache/apt/archives/x.deb', content: 'x' },
        { name: './mnt/.keep', content: '' },
        { name: './usr/sbin/.keep', content: '' },
      ],
    },
    {
      name: 'busybox',
      fields: { Priority: 'required' },
      files: [
        { name: './bin/busybox', content: readFileSync(Bun.which('busybox') ?? '/bin/busybox'), mode: 0o755 },
        ...tools.map(tool => ({ name: `./bin/${tool}`, content: 'busybox', type: 'symlink' as const })),
      ],
    },
    { name: 'dpkg', fields: { Essential: 'yes' }, files: [{ name: './usr/bin/dpkg', content: DPKG, mode: 0o755 }] },
    { name: 'apt', files: [{ name: './usr/bin/apt', content: '#!/bin/sh\n', mode: 0o4755 }] },
  ]
}

function tarOf(files: readonly DebFile[]): Uint8Array {
  const writer = new TarWriter()
  for (const { name, content, mode = 0o644, type = 'file' } of files) {
    const bytes = Buffer.from(content)
    writer.entry({
      ...{ type, name, linkname: type === 'symlink' ? String(content) : '', mode, uid: 0, gid: 0 },
      ...{ mtime: { seconds: 1_700_000_000, nanoseconds: 0 }, sizeBytes: type === 'file' ? bytes.length : 0 },
      ...{ devmajor: 0, devminor: 0, xattrs: new Map() },
    })
    if (type === 'file') writer.data(bytes)
  }
  writer.finish()
  return writer.take()
}

/** The bytes of a .deb. */
export function debOf({ files }: TestPackage): Uint8Array {
  const members: readonly (readonly [string, Uint8Array])[] = [
    ['debian-binary', Buffer.from('2.0\n')],
    ['control.tar.gz', gzipSync(tarOf([]))],
    ['data.tar.gz', gzipSync(tarOf(files))],
  ]
  const parts: Uint8Array[] = [Buffer.from('!<arch>\n')]
  for (const [name, bytes] of members) {
    const header = [name.padEnd(16), '0'.padEnd(12), '0'.padEnd(6), '0'.padEnd(6), '100644'.padEnd(8)].join('')
    parts.push(Buffer.from(`${header}${String(bytes.length).padEnd(10)}\`\n`), bytes)
    if (bytes.length % 2 === 1) parts.push(Buffer.from('\n'))
  }
  return Buffer.concat(parts)
}

/** What a test changes about an archive before it is signed, or after. */
export interface ArchiveChanges {
  readonly packages?: readonly TestPackage[]
  /** Fields of the release, in addition or instead. */
  readonly release?: Readonly<Record<string, string>>
  /** Files by path, instead of what they are. */
  readonly served?: (path: string, bytes: Uint8Array) => Uint8Array | null
}

/** A served archive of the suite `bookworm` with its updates and security updates. */
export interface TestArchive extends AsyncDisposable {
  readonly url: string
  /** Armored public key. */
  readonly keyring: string
  /** The paths that were asked for. */
  readonly requests: readonly string[]
}

let ourKey: Promise<{ readonly privateKey: PrivateKey; readonly publicKey: string }> | null = null

async function makeKey(): Promise<{ readonly privateKey: PrivateKey; readonly publicKey: string }> {
  const { privateKey, publicKey } = await generateKey({ userIDs: [{ name: 'Test archive' }] })
  return { privateKey: await readPrivateKey({ armoredKey: privateKey }), publicKey }
}

/** Serves an archive. */
export async function serveArchive({
  packages = basePackages(),
  release,
  served,
}: ArchiveChanges = {}): Promise<TestArchive> {
  ourKey ??= makeKey()
  const { privateKey, publicKey } = await ourKey
  const files = new Map<string, Uint8Array>()
  const stanzas = packages.map(each => {
    const bytes = debOf(each)
    const path = `pool/${each.name}_1.0_amd64.deb`
    files.set(path, bytes)
    const fields = { Package: each.name, Version: '1.0', ...each.fields, Filename: path, Size: String(bytes.length) }
    const lines = Object.entries(fields).map(([field, value]) => `${field}: ${value}`)
    return [...lines, `SHA256: ${sha256(bytes).slice(7)}`].join('\n')
  })
  for (const suite of ['bookworm', 'bookworm-updates', 'bookworm-security']) {
    const list = gzipSync(suite === 'bookworm' ? `${stanzas.join('\n\n')}\n\n` : '')
    const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64'
    const path = `main/binary-${architecture}/Packages.gz`
    files.set(`dists/${suite}/${path}`, list)
    const fields = {
      ...{ Origin: 'Test', Suite: suite, Codename: suite, Date: 'Sat, 11 Jul 2026 10:16:37 UTC' },
      ...{ Architectures: architecture, Components: 'main', ...release },
    }
    const lines = Object.entries(fields).map(([field, value]) => `${field}: ${value}`)
    const text = `${[...lines, 'SHA256:', ` ${sha256(list).slice(7)} ${list.length} ${path}`].join('\n')}\n`
    const signed = await sign({ message: await createCleartextMessage({ text }), signingKeys: privateKey })
    files.set(`dists/${suite}/InRelease`, Buffer.from(signed))
  }
  const requests: string[] = []
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: request => {
      const path = new URL(request.url).pathname.slice(1)
      requests.push(path)
      const bytes = files.get(path)
      const answer = bytes === undefined ? null : served === undefined ? bytes : served(path, bytes)
      return answer === null ? new Response('', { status: 404 }) : new Response(new Uint8Array(answer))
    },
  })
  return {
    url: `http://127.0.0.1:${server.port}`,
    keyring: publicKey,
    requests,
    [Symbol.asyncDispose]: () => server.stop(true),
  }
}

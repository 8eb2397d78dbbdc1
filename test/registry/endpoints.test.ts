/** Which place is asked for what: mirrors, proxies, searches, pages, and bytes as they are. */
import { describe, expect, test } from 'bun:test'
import { gzipSync } from 'node:zlib'
import { OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { TestAuthority } from '../support/certificates.ts'
import {
  blobOf,
  collect,
  failureOf,
  manifestOf,
  openerOf,
  password,
  patternOf,
  sha256,
  TestClient,
} from '../support/registry-client.ts'
import { testIf } from '../support/requirement.ts'
import { type Script, startScriptedRegistry } from '../support/scripted-registry.ts'
import { answerOf, startWireServer } from '../support/wire-server.ts'

const blob = patternOf(500)
const layer = blobOf(blob)
const document = manifestOf(layer, [layer])
const image: Script = ({ path }) =>
  path.includes('/manifests/')
    ? new Response(document, { headers: { 'Content-Type': OCI_MANIFEST } })
    : new Response(blob)
const absent: Script = () => new Response(null, { status: 404 })
const reference = parseReference('registry.test/app:1')

describe('mirrors', () => {
  const hostsOf = (server: string, ...mirrors: readonly string[]) => ({
    'registry.test': `server = "${server}"\n${mirrors.join('\n')}`,
  })

  test('that speak plain HTTP where https is expected are told of with what to configure', async () => {
    await using plain = startScriptedRegistry(image)
    const { host } = plain
    using own = new TestClient({ hosts: hostsOf(`https://${host}`) })
    const error = await failureOf(own.client.resolve(reference))
    expect(error.message).toContain(`set server = "http://${host}" in registries.d/${host}/hosts.toml when`)
  })

  test('are asked in order, then the registry, each told whose content is wanted', async () => {
    await using first = startScriptedRegistry(absent)
    await using second = startScriptedRegistry(image)
    await using itself = startScriptedRegistry(image)
    using test = new TestClient({
      hosts: hostsOf(itself.origin, `[host."${first.origin}"]`, `[host."${second.origin}"]`),
    })
    await test.client.fetchDocument(reference)
    await collect(test.client.openBlob(reference, layer))
    expect(first.requests.map(({ path, query }) => [path, query.get('ns')])).toEqual([
      ['/v2/app/manifests/1', 'registry.test'],
      [`/v2/app/blobs/${layer.digest}`, 'registry.test'],
    ])
    expect([second.requests.length, itself.requests.length, test.warnings.length]).toEqual([2, 0, 0])
  })

  test('that fail are named in a warning, and the registry serves', async () => {
    await using broken = startScriptedRegistry(() => new Response('down', { status: 500 }))
    await using itself = startScriptedRegistry(image)
    using test = new TestClient({ hosts: hostsOf(itself.origin, `[host."${broken.origin}"]`), limits: { attempts: 2 } })
    await test.client.fetchDocument(reference)
    expect(test.warnings).toEqual([
      expect.stringContaining(`the mirror ${broken.origin}/v2 of registry.test was no help: Cannot fetch`),
    ])
    expect(itself.requests[0]?.query.has('ns')).toBe(false)
  })

  test('that break within a blob are followed where they broke', async () => {
    await using broken = await startWireServer(
      (_, socket) => void socket.end(answerOf(200, {}, blob).subarray(0, -300)),
    )
    await using itself = startScriptedRegistry(({ headers }) => {
      const offset = Number(/^bytes=(\d+)-$/.exec(headers.get('range') ?? '')?.[1] ?? 0)
      const range = { 'Content-Range': `bytes ${offset}-499/500` }
      return new Response(blob.subarray(offset), offset === 0 ? {} : { status: 206, headers: range })
    })
    using test = new TestClient({
      hosts: hostsOf(itself.origin, `[host."http://${broken.host}"]`),
      limits: { attempts: 1 },
    })
    expect(sha256(await collect(test.client.openBlob(reference, layer)))).toBe(layer.digest)
  })

  test('without the capability are not asked for tags, nor to take content unless it is given', async () => {
    await using mirror = startScriptedRegistry(image)
    await using itself = startScriptedRegistry(({ method, path }) =>
      method === 'HEAD' || path.includes('/blobs/') ? absent({} as never) : image({ path } as never),
    )
    const hosts = hostsOf(itself.origin, `[host."${mirror.origin}"]\ncapabilities = ["pull"]`)
    using test = new TestClient({ hosts })
    await test.client.fetchDocument(reference)
    expect(mirror.requests).toEqual([])
    await test.client.fetchDocument({ ...reference, digest: sha256(document) })
    expect(mirror.requests.length).toBe(1)
    await failureOf(test.client.pushBlob(reference, layer, openerOf(blob)))
    expect(mirror.requests.length).toBe(1)
  })

  test('get the credentials of their own host, and the registry those of its own', async () => {
    const guarded: Script = ({ authorization }) =>
      authorization === null
        ? new Response(null, { status: 401, headers: { 'WWW-Authenticate': 'Basic realm="x"' } })
        : absent({} as never)
    await using mirror = startScriptedRegistry(guarded)
    await using itself = startScriptedRegistry(guarded)
    using test = new TestClient({
      hosts: hostsOf(itself.origin, `[host."${mirror.origin}"]`),
      credentials: { [mirror.host]: password('mirror', 'one'), [itself.host]: password('itself', 'two') },
    })
    await failureOf(test.client.fetchDocument(reference))
    const shown = (requests: readonly string[]) => requests.map(each => Buffer.from(each.slice(6), 'base64').toString())
    expect([shown(mirror.authorizations()), shown(itself.authorizations())]).toEqual([['mirror:one'], ['itself:two']])
  })

  test('may give nothing but what the digest says', async () => {
    await using mirror = startScriptedRegistry(
      () => new Response(manifestOf(layer, []), { headers: { 'Content-Type': OCI_MANIFEST } }),
    )
    await using itself = startScriptedRegistry(image)
    using test = new TestClient({ hosts: hostsOf(itself.origin, `[host."${mirror.origin}"]`) })
    const fetched = await test.client.fetchDocument({ ...reference, digest: sha256(document) })
    expect(Buffer.from(fetched.bytes).equals(document)).toBe(true)
    expect(test.warnings[0]).toContain('the registry gave one of digest')
  })

  test('below a path of a server are asked there', async () => {
    await using mirror = startScriptedRegistry(image)
    const texts = [`[host."${mirror.origin}/v2/cache"]\noverride_path = true`, `[host."${mirror.origin}/cache/"]`]
    for (const text of texts) {
      using test = new TestClient({ hosts: hostsOf('https://nobody.test', text) })
      await test.client.fetchDocument(reference)
    }
    expect(mirror.requests.map(({ path }) => path)).toEqual(['/v2/cache/app/manifests/1', '/cache/v2/app/manifests/1'])
  })
})

describe('a proxy', () => {
  test('carries plain HTTP when the settings say so', async () => {
    await using proxy = startScriptedRegistry(image)
    using test = new TestClient({
      hosts: { 'registry.test': 'server = "http://registry.test"' },
      proxies: { http: proxy.origin },
    })
    await test.client.fetchDocument(reference)
    expect(proxy.requests[0]?.headers.get('host')).toBe('registry.test')
  })

  test('of the environment is not used unless it was given', async () => {
    await using proxy = startScriptedRegistry(absent)
    await using registry = startScriptedRegistry(image)
    const before = process.env['HTTP_PROXY']
    process.env['HTTP_PROXY'] = proxy.origin
    try {
      using test = new TestClient()
      await test.client.fetchDocument(parseReference(`${registry.host}/app:1`))
    } finally {
      if (before === undefined) delete process.env['HTTP_PROXY']
      else process.env['HTTP_PROXY'] = before
    }
    expect([registry.requests.length, proxy.requests.length]).toEqual([1, 0])
  })

  testIf('command openssl')('carries https through a tunnel, and the certificate is checked behind it', async () => {
    using authority = new TestAuthority()
    await using registry = startScriptedRegistry(image, authority.server(['DNS:registry.test']))
    const { createServer, connect } = await import('node:net')
    const asked: string[] = []
    const proxy = createServer(socket => {
      socket.on('error', () => undefined)
      socket.once('data', bytes => {
        asked.push(bytes.toString().split('\r\n')[0] ?? '')
        const to = connect(Number(registry.host.split(':')[1]), '127.0.0.1', () => {
          socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
          socket.pipe(to).pipe(socket)
        })
        to.on('error', () => socket.destroy())
      })
    })
    await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
    const { port } = proxy.address() as import('node:net').AddressInfo
    const proxies = { https: `http://user:word@127.0.0.1:${port}` }
    using trusting = new TestClient({ hosts: { 'registry.test': `ca = "${authority.certificatePath}"` }, proxies })
    await trusting.client.fetchDocument(reference)
    expect(asked).toEqual(['CONNECT registry.test:443 HTTP/1.1'])
    using strict = new TestClient({ proxies })
    expect((await failureOf(strict.client.fetchDocument(reference))).message).toContain('not trusted here')
    proxy.close()
  })
})

describe('what a registry gives', () => {
  test('is not unpacked on the way, whatever Content-Encoding says', async () => {
    const packed = gzipSync(blob)
    await using registry = startScriptedRegistry(
      () => new Response(new Uint8Array(packed), { headers: { 'Content-Encoding': 'gzip' } }),
    )
    using test = new TestClient()
    const bytes = await collect(test.client.openBlob(parseReference(`${registry.host}/app`), blobOf(packed)))
    expect(Buffer.from(bytes).equals(packed)).toBe(true)
    expect(registry.requests[0]?.headers.get('accept-encoding')).toBe('identity')
  })

  test('is resolved by GET where HEAD is not answered in full', async () => {
    const lacking: readonly Script[] = [
      () => new Response(null, { status: 405 }),
      () => new Response(null, { headers: { 'Content-Type': OCI_MANIFEST } }),
      () =>
        new Response(null, { headers: { 'Content-Type': 'text/plain', 'Docker-Content-Digest': sha256(document) } }),
    ]
    for (const head of lacking) {
      await using registry = startScriptedRegistry(request =>
        request.method === 'HEAD' ? head(request) : image(request),
      )
      using test = new TestClient()
      expect(await test.client.resolve(parseReference(`${registry.host}/app:1`))).toEqual({
        mediaType: OCI_MANIFEST,
        digest: sha256(document),
        sizeBytes: document.length,
      })
    }
  })

  test('shows its warnings once', async () => {
    await using registry = startScriptedRegistry(
      () => new Response(document, { headers: { 'Content-Type': OCI_MANIFEST, Warning: '299 - "app is \\"old\\""' } }),
    )
    using test = new TestClient()
    for (let count = 0; count < 3; count++) await test.client.fetchDocument(parseReference(`${registry.host}/app:1`))
    expect(test.warnings).toEqual([`${registry.host} says: app is "old"`])
  })
})

describe('lists', () => {
  const paged =
    (pages: readonly unknown[], links: readonly string[]): Script =>
    ({ query }) => {
      const at = Number(query.get('last') ?? 0)
      const page = pages[at]
      if (page === undefined) return new Response(null, { status: 404 })
      return Response.json(page, links[at] === undefined ? {} : { headers: { Link: links[at] } })
    }

  test('are followed over pages, relative and absolute', async () => {
    const pages = [['a', 'b'], ['c', 'not a tag\u001b'], ['d']].map(tags => ({ name: 'app', tags }))
    const links = ['</v2/app/tags/list?last=1>; rel="next"', '<?last=2>; title="x"; rel=next']
    await using registry = startScriptedRegistry(paged(pages, links))
    using test = new TestClient()
    const tags = await Array.fromAsync(test.client.tags(parseReference(`${registry.host}/app`)))
    expect(tags).toEqual(['a', 'b', 'c', 'd'])
  })

  test('that lead in a circle or never end are left', async () => {
    const page = { tags: ['a'] }
    await using circle = startScriptedRegistry(paged([page, page], ['<?last=1>; rel=next', '<?last=1>; rel=next']))
    using test = new TestClient({ limits: { pages: 20 } })
    const list = (host: string) => failureOf(Array.fromAsync(test.client.tags(parseReference(`${host}/app`))))
    expect((await list(circle.host)).message).toContain('its pages lead in a circle')
    let count = 0
    await using endless = startScriptedRegistry(() =>
      Response.json({ tags: ['a'] }, { headers: { Link: `<?last=${++count}>; rel=next` } }),
    )
    expect((await list(endless.host)).message).toContain('more than 20 pages')
  })

  test('of referrers are filtered, also when the registry does not', async () => {
    const entry = (artifactType: string) => ({ mediaType: OCI_MANIFEST, digest: layer.digest, size: 1, artifactType })
    await using registry = startScriptedRegistry(() =>
      Response.json({ schemaVersion: 2, manifests: [entry('application/a'), entry('application/b')] }),
    )
    using test = new TestClient()
    const found = await test.client.referrers(parseReference(`${registry.host}/app`), layer.digest, 'application/b')
    expect(found.map(({ artifactType }) => artifactType)).toEqual(['application/b'])
    expect(registry.requests[0]?.query.get('artifactType')).toBe('application/b')
  })
})

describe('search()', () => {
  test('asks the catalogue, then the old search, then says that there is neither', async () => {
    const results = [
      { name: 'team/app', description: 'An\u001b[1m app', star_count: 3, is_official: true },
      { name: '../x' },
    ]
    await using searching = startScriptedRegistry(({ path }) =>
      path === '/v1/search' ? Response.json({ results }) : new Response('<html>', { status: 404 }),
    )
    await using neither = startScriptedRegistry(() => new Response('<html>a page</html>'))
    using test = new TestClient()
    expect(await test.client.search(searching.host, 'app', 5)).toEqual([
      { name: 'team/app', description: 'An [1m app', starCount: 3, isOfficial: true },
    ])
    expect(searching.requests.at(-1)?.query.toString()).toBe('q=app&n=5')
    const error = await failureOf(test.client.search(neither.host, 'app', 5))
    expect(error).toMatchObject({ category: 'notImplemented' })
    expect(error.message).toBe(`Cannot search "${neither.host}": it offers neither a catalogue nor a search`)
  })
})

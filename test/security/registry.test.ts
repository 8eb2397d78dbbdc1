/** Class E, credentials: a registry, or a manifest in it, that wants what was meant for somebody else. */
import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
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
  TestClient,
} from '../support/registry-client.ts'
import { testIf } from '../support/requirement.ts'
import { challenge, redirect, type Script, startScriptedRegistry } from '../support/scripted-registry.ts'

const tlsTest = testIf('command openssl')
const secret = 'correct horse battery'
const blob = patternOf(2000)
const layer = blobOf(blob)
const document = manifestOf(layer, [layer])
const basic = `Basic ${Buffer.from(`alice:${secret}`).toString('base64')}`

const served = (): Response => new Response(blob)
/** Lets in who shows the password. */
const guarded =
  (script: Script): Script =>
  request =>
    request.authorization === basic ? script(request) : challenge('Basic realm="test"')
const clientFor = (host: string, hosts: Readonly<Record<string, string>> = {}): TestClient =>
  new TestClient({ credentials: { [host]: password('alice', secret) }, hosts })

describe('authorization, when a registry redirects to another origin (CVE-2020-15157, CVE-2024-3727)', () => {
  test('stays behind, and its own headers too', async () => {
    await using storage = startScriptedRegistry(served)
    await using registry = startScriptedRegistry(guarded(() => redirect(`${storage.origin}/blob?signature=1`)))
    const hosts = { [registry.host]: `server = "${registry.origin}"\n[header]\nx-token = "${secret}"` }
    using test = clientFor(registry.host, hosts)
    const reference = parseReference(`${registry.host}/app`)
    expect(Buffer.from(await collect(test.client.openBlob(reference, layer))).equals(blob)).toBe(true)
    expect(registry.requests.every(({ headers }) => headers.get('x-token') === secret)).toBe(true)
    expect(storage.requests.map(({ headers }) => [headers.get('authorization'), headers.get('x-token')])).toEqual([
      [null, null],
    ])
  })

  test('is not given to its challenge, neither directly nor through a token server', async () => {
    await using thief = startScriptedRegistry(() => Response.json({ token: 'x' }))
    for (const text of ['Basic realm="give"', `Bearer realm="${thief.origin}/token",service="registry"`]) {
      await using storage = startScriptedRegistry(() => challenge(text))
      await using registry = startScriptedRegistry(guarded(() => redirect(`${storage.origin}/blob`)))
      using test = clientFor(registry.host)
      const error = await failureOf(collect(test.client.openBlob(parseReference(`${registry.host}/app`), layer)))
      expect(error).toMatchObject({ category: 'unauthorized' })
      expect(storage.authorizations()).toEqual([])
    }
    expect(thief.requests).toEqual([])
  })

  test('does not come back with a redirect back', async () => {
    let isBack = false
    await using registry = startScriptedRegistry(request => {
      if (request.path === '/v2/_trap') {
        isBack = true
        return served()
      }
      return guarded(() => redirect(`${storage.origin}/there`))(request)
    })
    await using storage = startScriptedRegistry(() => redirect(`${registry.origin}/v2/_trap`))
    using test = clientFor(registry.host)
    await collect(test.client.openBlob(parseReference(`${registry.host}/app`), layer))
    expect(isBack).toBe(true)
    expect(registry.requests.at(-1)).toMatchObject({ path: '/v2/_trap', authorization: null })
  })

  test('stays behind when an upload goes there', async () => {
    await using storage = startScriptedRegistry(() => new Response(null, { status: 201 }))
    await using registry = startScriptedRegistry(
      guarded(({ method }) =>
        method === 'HEAD'
          ? new Response(null, { status: 404 })
          : new Response(null, { status: 202, headers: { Location: `${storage.origin}/upload?state=1` } }),
      ),
    )
    const hosts = { [registry.host]: `server = "${registry.origin}"\n[header]\nx-token = "${secret}"` }
    using test = clientFor(registry.host, hosts)
    expect(await test.client.pushBlob(parseReference(`${registry.host}/app`), layer, openerOf(blob))).toBe('uploaded')
    expect(storage.requests.map(({ method, authorization }) => [method, authorization])).toEqual([['PUT', null]])
    expect(storage.requests[0]?.headers.get('x-token')).toBeNull()
    expect(storage.requests[0]?.body.equals(blob)).toBe(true)
  })

  test('stays behind in the pages of a list', async () => {
    await using other = startScriptedRegistry(() => Response.json({ tags: ['stolen'] }))
    const headers = { Link: `<${other.origin}/v2/app/tags/list>; rel="next"` }
    await using registry = startScriptedRegistry(guarded(() => Response.json({ tags: ['mine'] }, { headers })))
    using test = clientFor(registry.host)
    const error = await failureOf(Array.fromAsync(test.client.tags(parseReference(`${registry.host}/app`))))
    expect(error.message).toContain('its next page is at another place')
    expect(other.requests).toEqual([])
  })

  test('and the user information of a URL are not followed into', async () => {
    await using storage = startScriptedRegistry(served)
    await using registry = startScriptedRegistry(() => redirect(`http://eve:evil@${storage.host}/blob`))
    using test = new TestClient()
    await collect(test.client.openBlob(parseReference(`${registry.host}/app`), layer))
    expect(storage.authorizations()).toEqual([])
  })
})

describe('a redirect', () => {
  tlsTest('from https to plain HTTP is refused', async () => {
    using authority = new TestAuthority()
    await using plain = startScriptedRegistry(served)
    await using registry = startScriptedRegistry(() => redirect(`${plain.origin}/blob`), authority.server())
    const hosts = { [registry.host]: `server = "${registry.origin}"\nca = "${authority.certificatePath}"` }
    using test = new TestClient({ hosts })
    const error = await failureOf(collect(test.client.openBlob(parseReference(`${registry.host}/app`), layer)))
    expect(error.message).toContain('it points from https to plain HTTP')
    expect(plain.requests).toEqual([])
  })

  tlsTest('does not show the client certificate to another origin', async () => {
    using authority = new TestAuthority()
    const client = authority.client('alice')
    const shown: boolean[] = []
    const server = authority.server()
    const { createServer } = await import('node:https')
    const tls = { cert: await Bun.file(server.certificatePath).text(), key: await Bun.file(server.keyPath).text() }
    const asking = { ...tls, ca: authority.certificate, requestCert: true, rejectUnauthorized: false }
    const storage = createServer(asking, (request, response) => {
      shown.push((request.socket as import('node:tls').TLSSocket).authorized)
      response.end(blob)
    })
    await new Promise<void>(resolve => storage.listen(0, '127.0.0.1', resolve))
    const { port } = storage.address() as import('node:net').AddressInfo
    await using registry = startScriptedRegistry(() => redirect(`https://127.0.0.1:${port}/blob`), server)
    const certificate = `client = [["${client.certificatePath}", "${client.keyPath}"]]`
    const text = (origin: string): string => `server = "${origin}"\nca = "${authority.certificatePath}"\n${certificate}`
    const direct = `127.0.0.1:${port}`
    using test = new TestClient({
      hosts: { [registry.host]: text(registry.origin), [direct]: text(`https://${direct}`) },
    })
    await collect(test.client.openBlob(parseReference(`${registry.host}/app`), layer))
    await collect(test.client.openBlob(parseReference(`${direct}/app`), layer))
    expect(shown).toEqual([false, true])
    await new Promise(resolve => storage.close(resolve))
  })

  test.each(['file:///etc/passwd', 'ftp://example.com/x', 'data:,x', 'http://[', ''])(
    'to %j is refused',
    async target => {
      await using registry = startScriptedRegistry(() => redirect(target))
      using test = new TestClient()
      await expect(collect(test.client.openBlob(parseReference(`${registry.host}/app`), layer))).rejects.toThrow(
        /it points to/,
      )
    },
  )

  test('without end is left', async () => {
    await using registry = startScriptedRegistry(({ path }) => redirect(`${path}x`))
    using test = new TestClient()
    const error = await failureOf(collect(test.client.openBlob(parseReference(`${registry.host}/app`), layer)))
    expect(error.message).toContain('more than 10 redirects')
    expect(registry.requests.length).toBe(11)
  })
})

describe('the realm of a challenge', () => {
  const bearer = (realm: string) => challenge(`Bearer realm="${realm}",service="registry",scope="repository:app:pull"`)

  tlsTest('by plain HTTP gets nothing from a registry that is reached by https', async () => {
    using authority = new TestAuthority()
    await using thief = startScriptedRegistry(() => Response.json({ token: 'x' }))
    await using registry = startScriptedRegistry(() => bearer(`${thief.origin}/token`), authority.server())
    using test = clientFor(registry.host, {
      [registry.host]: `server = "${registry.origin}"\nca = "${authority.certificatePath}"`,
    })
    const error = await failureOf(test.client.resolve(parseReference(`${registry.host}/app:1`)))
    expect(error).toMatchObject({ category: 'forbidden' })
    expect(error.message).toBe(
      `Cannot get a token for ${registry.host}: its realm is ${thief.origin}, expected https, or plain HTTP that is configured`,
    )
    expect(thief.requests).toEqual([])
  })

  test.each(['http://attacker.test/token', 'ftp://127.0.0.1/token', 'not a url', 'file:///etc/passwd'])(
    '%j gets nothing from a registry by plain HTTP either',
    async realm => {
      await using registry = startScriptedRegistry(() => bearer(realm))
      using test = clientFor(registry.host)
      const error = await failureOf(test.client.resolve(parseReference(`${registry.host}/app:1`)))
      expect(error.message).toMatch(/^Cannot get a token for 127\.0\.0\.1:\d+: its realm is /)
    },
  )

  test('gets the password by its own URL alone, and not where that redirects to', async () => {
    await using thief = startScriptedRegistry(() => Response.json({ token: 'x' }))
    await using tokens = startScriptedRegistry(() => redirect(`${thief.origin}/token`))
    await using registry = startScriptedRegistry(() => bearer(`${tokens.origin}/token`))
    using test = clientFor(registry.host)
    await failureOf(test.client.resolve(parseReference(`${registry.host}/app:1`)))
    expect(tokens.authorizations()[0]).toBe(basic)
    expect(thief.authorizations()).toEqual([])
    using identified = new TestClient({ credentials: { [registry.host]: { kind: 'identityToken', token: secret } } })
    thief.requests.length = 0
    await failureOf(identified.client.resolve(parseReference(`${registry.host}/app:1`)))
    expect(tokens.requests.at(-1)?.body.toString()).toContain('refresh_token=')
    expect(thief.requests).toEqual([])
  })

  test('gets tokens for what is asked, whatever scope the challenge names', async () => {
    await using tokens = startScriptedRegistry(() => Response.json({ token: 'x' }))
    await using registry = startScriptedRegistry(({ authorization }) =>
      authorization === null
        ? challenge(`Bearer realm="${tokens.origin}/token",scope="repository:somebody/else:pull,push,delete"`)
        : new Response(null, { status: 404 }),
    )
    using test = clientFor(registry.host)
    await failureOf(test.client.resolve(parseReference(`${registry.host}/app:1`)))
    expect(tokens.requests.map(({ query }) => query.getAll('scope'))).toEqual([['repository:app:pull']])
  })

  test('gives a token that becomes no second header', async () => {
    await using tokens = startScriptedRegistry(() => Response.json({ token: 'x\r\nX-Injected: 1' }))
    await using registry = startScriptedRegistry(() => bearer(`${tokens.origin}/token`))
    using test = clientFor(registry.host)
    const error = await failureOf(test.client.resolve(parseReference(`${registry.host}/app:1`)))
    expect(error.message).toContain('the answer has none')
    expect(registry.requests.length).toBe(1)
  })

  test('that is never satisfied ends', async () => {
    await using tokens = startScriptedRegistry(() => Response.json({ token: 'x' }))
    await using registry = startScriptedRegistry(() => bearer(`${tokens.origin}/token`))
    using test = clientFor(registry.host)
    await failureOf(test.client.fetchDocument(parseReference(`${registry.host}/app:1`)))
    expect(registry.requests.length).toBeLessThanOrEqual(3)
  })
})

describe('the URLs of a descriptor (GHSA-rp3h-jf77-q9p4)', () => {
  const absent: Script = () => new Response(null, { status: 404 })

  test('are not asked unless the hosts file allows it', async () => {
    await using place = startScriptedRegistry(served)
    await using registry = startScriptedRegistry(guarded(absent))
    using test = clientFor(registry.host)
    const foreign = { ...layer, urls: [`${place.origin}/layer`] }
    const error = await failureOf(collect(test.client.openBlob(parseReference(`${registry.host}/app`), foreign)))
    expect(error).toMatchObject({ category: 'forbidden' })
    expect(error.message).toContain('set allow_foreign_urls = true')
    expect(place.requests).toEqual([])
  })

  /** Fetches the layer from a place whose authority the system trusts. */
  const fetchFrom = async (place: Script) => {
    using authority = new TestAuthority()
    await using elsewhere = startScriptedRegistry(place, authority.server())
    await using registry = startScriptedRegistry(guarded(absent))
    const text = `server = "${registry.origin}"\nskip_verify = true\nallow_foreign_urls = true\n[header]\nx-token = "${secret}"`
    using test = new TestClient({ hosts: { [registry.host]: text } })
    const program = join(import.meta.dir, 'foreign-url-client.ts')
    const args = [
      test.registriesDirectory,
      registry.host,
      layer.digest,
      String(layer.sizeBytes),
      `${elsewhere.origin}/layer?x=1`,
    ]
    const run = async (environment: Readonly<Record<string, string>>): Promise<string> => {
      const child = Bun.spawn([process.execPath, program, ...args], {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: environment,
      })
      return (await new Response(child.stdout).text()).trim()
    }
    const trusting = await run({ NODE_EXTRA_CA_CERTS: authority.certificatePath })
    const requests = [...elsewhere.requests]
    return { trusting, requests, strict: await run({}), strictCount: elsewhere.requests.length - requests.length }
  }

  tlsTest('are asked by https without credentials and headers, and by its own certificate', async () => {
    const { trusting, requests, strict, strictCount } = await fetchFrom(served)
    expect(trusting).toBe(layer.digest)
    expect(requests.map(({ headers }) => [headers.get('authorization'), headers.get('x-token')])).toEqual([
      [null, null],
    ])
    // skip_verify is said of the registry, not of every place that a manifest names.
    expect(strict).toContain('its certificate is of an authority that is not trusted here')
    expect(strictCount).toBe(0)
  })

  tlsTest('get no answer to a challenge', async () => {
    await using thief = startScriptedRegistry(() => Response.json({ token: 'x' }))
    for (const text of ['Basic realm="give"', `Bearer realm="${thief.origin}/token"`]) {
      const { trusting, requests } = await fetchFrom(() => challenge(text))
      expect(trusting).toContain('gave 401')
      expect(requests.length).toBe(1)
    }
    expect(thief.requests).toEqual([])
  })

  test('by plain HTTP are not asked', async () => {
    await using place = startScriptedRegistry(served)
    await using registry = startScriptedRegistry(absent)
    using test = new TestClient({
      hosts: { [registry.host]: `server = "${registry.origin}"\nallow_foreign_urls = true` },
    })
    const foreign = { ...layer, urls: [`${place.origin}/layer`, 'file:///etc/passwd'] }
    const error = await failureOf(collect(test.client.openBlob(parseReference(`${registry.host}/app`), foreign)))
    expect(error.message).toContain('nor any place by https')
    expect(place.requests).toEqual([])
  })
})

describe('digests that a registry names (CVE-2024-3727)', () => {
  const type = { 'Content-Type': OCI_MANIFEST }
  const tag = (host: string) => parseReference(`${host}/app:1`)

  test.each(['../../../etc/passwd', 'sha256:../../x', 'sha256:zz', 'md5:d41d8cd98f00b204e9800998ecf8427e', ''])(
    'as %j are not used: the content is',
    async digest => {
      await using registry = startScriptedRegistry(
        () => new Response(document, { headers: { ...type, 'Docker-Content-Digest': digest } }),
      )
      using test = new TestClient()
      expect((await test.client.resolve(tag(registry.host))).digest).toBe(blobOf(document).digest)
    },
  )

  test('must be those of the content, and the one that was asked for', async () => {
    await using registry = startScriptedRegistry(
      () => new Response(document, { headers: { ...type, 'Docker-Content-Digest': layer.digest } }),
    )
    using test = new TestClient()
    const error = await failureOf(test.client.fetchDocument(tag(registry.host)))
    expect(error.message).toContain(`the registry gave one of digest ${blobOf(document).digest}`)
    const pinned = { ...tag(registry.host), digest: blobOf(document).digest }
    expect((await failureOf(test.client.resolve(pinned))).message).toContain(`one of digest ${layer.digest}`)
  })
})

describe('secrets', () => {
  test('are not in errors, even when the registry repeats them', async () => {
    await using registry = startScriptedRegistry(
      guarded(({ authorization }) =>
        Response.json(
          { errors: [{ code: 'DENIED', message: `${authorization} is ${secret} of /?X-Amz-Signature=abc` }] },
          { status: 403 },
        ),
      ),
    )
    using test = clientFor(registry.host)
    const error = await failureOf(test.client.fetchDocument(parseReference(`${registry.host}/app:1`)))
    expect(error.message).toContain('gave 403 (DENIED: Basic … is … of')
    expect(Bun.inspect(error)).not.toContain(secret)
    expect(Bun.inspect(error)).not.toContain(basic.slice('Basic '.length))
  })

  test('of signed URLs are not in errors', async () => {
    await using storage = startScriptedRegistry(() => new Response('no', { status: 403 }))
    await using registry = startScriptedRegistry(() =>
      redirect(`${storage.origin}/blob?X-Amz-Signature=${'s'.repeat(40)}`),
    )
    using test = new TestClient()
    const error = await failureOf(collect(test.client.openBlob(parseReference(`${registry.host}/app`), layer)))
    expect(error.message).toContain(`GET ${storage.origin}/blob?… gave 403`)
    expect(Bun.inspect(error)).not.toContain('ssss')
  })
})

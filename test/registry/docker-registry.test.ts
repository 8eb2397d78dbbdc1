/** Against Debian's docker-registry: open, by TLS, with passwords, with a token server, and as a pull-through cache. */
import { describe, expect } from 'bun:test'
import { OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { TestAuthority } from '../support/certificates.ts'
import { startRegistry } from '../support/registry.ts'
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
import { startTokenServer } from '../support/token-server.ts'

const registryTest = testIf('command docker-registry')
const tlsTest = testIf('command docker-registry', 'command openssl')

const config = new TextEncoder().encode('{}')
const content = patternOf(200_000)
const layer = blobOf(content)
const document = manifestOf(blobOf(config), [layer])

/** Pushes an image and pulls it back. */
async function exchange({ client }: TestClient, name: string): Promise<void> {
  const reference = parseReference(name)
  await client.pushBlob(reference, blobOf(config), openerOf(config))
  await client.pushBlob(reference, layer, openerOf(content))
  const pushed = await client.pushDocument(reference, OCI_MANIFEST, document)
  expect(pushed).toEqual({ mediaType: OCI_MANIFEST, digest: sha256(document), sizeBytes: document.length })
  await pullBack({ client }, name)
}

async function pullBack({ client }: Pick<TestClient, 'client'>, name: string): Promise<void> {
  const reference = parseReference(name)
  const expected = { mediaType: OCI_MANIFEST, digest: sha256(document), sizeBytes: document.length }
  expect(await client.resolve(reference)).toEqual(expected)
  const fetched = await client.fetchDocument({ ...reference, digest: sha256(document) })
  expect(fetched.descriptor).toEqual(expected)
  expect(Buffer.from(fetched.bytes).equals(document)).toBe(true)
  expect(sha256(await collect(client.openBlob(reference, layer)))).toBe(layer.digest)
}

describe('an open registry', () => {
  registryTest('takes an image and gives it back', async () => {
    await using registry = await startRegistry()
    using test = new TestClient()
    await exchange(test, `${registry.host}/team/app:1`)
    expect(test.warnings).toEqual([])
  })

  registryTest('is asked before a blob is sent, and mounts one of another repository', async () => {
    await using registry = await startRegistry()
    using test = new TestClient()
    const first = parseReference(`${registry.host}/first`)
    const second = parseReference(`${registry.host}/second`)
    const never = () => {
      throw new Error('it was sent')
    }
    expect(await test.client.pushBlob(first, layer, openerOf(content))).toBe('uploaded')
    expect(await test.client.pushBlob(first, layer, never)).toBe('exists')
    expect(await test.client.pushBlob(second, layer, never, { mountFrom: first })).toBe('mounted')
    expect(sha256(await collect(test.client.openBlob(second, layer)))).toBe(layer.digest)
    const third = parseReference(`${registry.host}/third`)
    const unknown = parseReference(`${registry.host}/unknown`)
    expect(await test.client.pushBlob(third, layer, openerOf(content), { mountFrom: unknown })).toBe('uploaded')
  })

  registryTest('takes blobs of no byte, of one, and in chunks', async () => {
    await using registry = await startRegistry()
    using test = new TestClient()
    const reference = parseReference(`${registry.host}/app`)
    for (const bytes of [patternOf(0), patternOf(1), patternOf(5000)]) {
      const progress: number[] = []
      const onProgress = (current: number) => progress.push(current)
      expect(await test.client.pushBlob(reference, blobOf(bytes), openerOf(bytes, 999), { onProgress })).toBe(
        'uploaded',
      )
      expect(progress.at(-1) ?? 0).toBe(bytes.length)
      expect(sha256(await collect(test.client.openBlob(reference, blobOf(bytes))))).toBe(sha256(bytes))
    }
  })

  registryTest('refuses a blob of another digest in its own words', async () => {
    await using registry = await startRegistry()
    using test = new TestClient()
    const reference = parseReference(`${registry.host}/app`)
    const wrong = { ...blobOf(patternOf(10)), digest: sha256('something else') }
    const error = await failureOf(test.client.pushBlob(reference, wrong, openerOf(patternOf(10))))
    expect(error.message).toMatch(/gave 400 \(DIGEST_INVALID: /)
  })

  registryTest('says which manifest is unknown', async () => {
    await using registry = await startRegistry()
    using test = new TestClient()
    const reference = parseReference(`${registry.host}/app:none`)
    const error = await failureOf(test.client.fetchDocument(reference))
    expect(error).toMatchObject({ category: 'notFound', status: 404, codes: ['MANIFEST_UNKNOWN'] })
    expect(error.message).toBe(
      `Cannot fetch manifest "${registry.host}/app:none": GET http://${registry.host}/v2/app/manifests/none gave 404 (MANIFEST_UNKNOWN: manifest unknown)`,
    )
    expect(await failureOf(test.client.resolve(reference))).toMatchObject({ category: 'notFound' })
  })

  registryTest('lists tags and finds repositories', async () => {
    await using registry = await startRegistry()
    using test = new TestClient()
    const names = Array.from({ length: 7 }, (_, index) => `v${index}`)
    await exchange(test, `${registry.host}/team/app:v0`)
    const reference = parseReference(`${registry.host}/team/app`)
    for (const tag of names) await test.client.pushDocument({ ...reference, tag }, OCI_MANIFEST, document)
    expect((await Array.fromAsync(test.client.tags(reference))).sort()).toEqual(names)
    for (const name of ['team/tool', 'other']) await exchange(test, `${registry.host}/${name}:1`)
    const found = await test.client.search(registry.host, 'TEAM', 10)
    expect(found.map(({ name }) => name)).toEqual(['team/app', 'team/tool'])
    expect((await test.client.search(registry.host, 'team', 1)).length).toBe(1)
  })

  registryTest('keeps the referrers of a manifest under a tag', async () => {
    await using registry = await startRegistry()
    using test = new TestClient()
    const reference = parseReference(`${registry.host}/app:1`)
    await exchange(test, `${registry.host}/app:1`)
    const subject = { mediaType: OCI_MANIFEST, digest: sha256(document), size: document.length }
    const refer = async (artifactType: string): Promise<string> => {
      const bytes = manifestOf(blobOf(config), [layer], { subject, artifactType, annotations: { of: artifactType } })
      const digest = sha256(bytes)
      await test.client.pushDocument({ ...reference, tag: null, digest }, OCI_MANIFEST, bytes)
      return digest
    }
    expect(await test.client.referrers(reference, subject.digest)).toEqual([])
    const signature = await refer('application/vnd.example.signature')
    const sbom = await refer('application/vnd.example.sbom')
    await refer('application/vnd.example.sbom')
    const all = await test.client.referrers(reference, subject.digest)
    expect(all.map(({ digest }) => String(digest))).toEqual([signature, sbom])
    expect(await test.client.referrers(reference, subject.digest, 'application/vnd.example.sbom')).toEqual([
      expect.objectContaining({ digest: sbom, annotations: { of: 'application/vnd.example.sbom' } }),
    ])
  })

  registryTest('feeds a pull-through cache, whose content is the same', async () => {
    await using origin = await startRegistry()
    await using cache = await startRegistry({ proxyOf: `http://${origin.host}` })
    using direct = new TestClient()
    await exchange(direct, `${origin.host}/team/app:1`)
    using test = new TestClient({
      hosts: { 'registry.test': `server = "http://${origin.host}"\n[host."http://${cache.host}"]\n` },
    })
    await pullBack(test, 'registry.test/team/app:1')
    expect(test.warnings).toEqual([])
    expect(cache.log()).toContain('/v2/team/app/blobs/')
    // A push goes to the registry itself: the cache would refuse it.
    await exchange(test, 'registry.test/team/pushed:1')
  })
})

describe('a registry with a certificate of its own authority', () => {
  tlsTest('is trusted when its hosts file says so, and not otherwise', async () => {
    using authority = new TestAuthority()
    await using registry = await startRegistry({ tls: authority.server() })
    const server = `server = "https://${registry.host}"\n`
    using trusting = new TestClient({ hosts: { [registry.host]: `${server}ca = "${authority.certificatePath}"` } })
    await exchange(trusting, `${registry.host}/app:1`)
    using skipping = new TestClient({ hosts: { [registry.host]: `${server}skip_verify = true` } })
    await pullBack(skipping, `${registry.host}/app:1`)
    using other = new TestAuthority()
    for (const extra of ['', `ca = "${other.certificatePath}"`]) {
      using strict = new TestClient({ hosts: { [registry.host]: server + extra } })
      const error = await failureOf(strict.client.resolve(parseReference(`${registry.host}/app:1`)))
      expect(error.message).toContain(`set ca in registries.d/${registry.host}/hosts.toml`)
      expect(strict.pausesMs).toEqual([])
    }
  })

  tlsTest('must be the host that its certificate names', async () => {
    using authority = new TestAuthority()
    await using registry = await startRegistry({ tls: authority.server(['DNS:elsewhere.test']) })
    const text = `server = "https://${registry.host}"\nca = "${authority.certificatePath}"`
    using test = new TestClient({ hosts: { [registry.host]: text } })
    const error = await failureOf(test.client.resolve(parseReference(`${registry.host}/app:1`)))
    expect(error.message).toContain('its certificate is for another host')
  })

  tlsTest('is shown the client certificate that it asks for', async () => {
    using authority = new TestAuthority()
    const tls = { ...authority.server(), clientAuthorityPath: authority.certificatePath }
    const client = authority.client('somebody')
    await using registry = await startRegistry({ tls })
    const server = `server = "https://${registry.host}"\nca = "${authority.certificatePath}"\n`
    const shown = `${server}client = [["${client.certificatePath}", "${client.keyPath}"]]`
    using test = new TestClient({ hosts: { [registry.host]: shown } })
    await exchange(test, `${registry.host}/app:1`)
    using stranger = new TestClient({ hosts: { [registry.host]: server }, limits: { attempts: 1 } })
    await expect(stranger.client.resolve(parseReference(`${registry.host}/app:1`))).rejects.toThrow('Cannot resolve')
  })
})

describe('a registry with passwords', () => {
  const auth = { username: 'alice', password: 'correct horse' }

  registryTest('takes the right one and says how to log in without', async () => {
    await using registry = await startRegistry({ auth })
    using test = new TestClient({ credentials: { [registry.host]: password(auth.username, auth.password) } })
    await exchange(test, `${registry.host}/app:1`)
    using anonymous = new TestClient()
    const reference = parseReference(`${registry.host}/app:1`)
    const error = await failureOf(anonymous.client.resolve(reference))
    expect(error).toMatchObject({ category: 'unauthorized', codes: ['UNAUTHORIZED'] })
    expect(error.message).toContain(`nobody is logged in to ${registry.host}; see "berth login ${registry.host}"`)
    using wrong = new TestClient({ credentials: { [registry.host]: password('alice', 'wrong horse') } })
    const refused = await failureOf(wrong.client.resolve(reference))
    expect(refused.message).toContain('or its password has changed')
    expect(refused.message).not.toContain('wrong horse')
  })
})

describe('a registry with a token server', () => {
  const accounts = [{ username: 'alice', password: 'correct horse', identityToken: 'identity-of-alice' }]

  tlsTest('gets tokens for what is done, one for each purpose', async () => {
    using authority = new TestAuthority()
    await using tokens = startTokenServer({ authority, accounts, anonymous: ['pull'] })
    await using registry = await startRegistry({ auth: tokens })
    using test = new TestClient({ credentials: { [registry.host]: password('alice', 'correct horse') } })
    await exchange(test, `${registry.host}/team/app:1`)
    expect(tokens.requests.map(({ account, scopes }) => [account, ...scopes])).toEqual([
      ['alice', 'repository:team/app:pull,push'],
      ['alice', 'repository:team/app:pull'],
    ])
    using anonymous = new TestClient()
    await pullBack(anonymous, `${registry.host}/team/app:1`)
    expect(tokens.requests.at(-1)).toMatchObject({ account: null, scopes: ['repository:team/app:pull'] })
    const error = await failureOf(
      anonymous.client.pushDocument(parseReference(`${registry.host}/team/app:2`), OCI_MANIFEST, document),
    )
    expect(error).toMatchObject({ category: 'unauthorized' })
  })

  tlsTest('serves parallel requests with one token', async () => {
    using authority = new TestAuthority()
    await using tokens = startTokenServer({ authority, accounts, anonymous: ['pull', 'push'] })
    await using registry = await startRegistry({ auth: tokens })
    using test = new TestClient()
    await exchange(test, `${registry.host}/app:1`)
    using fresh = new TestClient()
    const reference = parseReference(`${registry.host}/app:1`)
    tokens.requests.length = 0
    await Promise.all(Array.from({ length: 8 }, () => collect(fresh.client.openBlob(reference, layer))))
    expect(tokens.requests.length).toBe(1)
  })

  tlsTest('takes an identity token in place of a password, by POST', async () => {
    using authority = new TestAuthority()
    await using tokens = startTokenServer({ authority, accounts })
    await using registry = await startRegistry({ auth: tokens })
    using test = new TestClient({
      credentials: { [registry.host]: { kind: 'identityToken', token: 'identity-of-alice' } },
    })
    await exchange(test, `${registry.host}/app:1`)
    expect(tokens.requests[0]).toMatchObject({ method: 'POST', account: 'alice' })
    expect(tokens.requests[0]?.parameters).toMatchObject({ grant_type: 'refresh_token', client_id: 'berth' })
  })

  tlsTest('mounts with the right to read the other repository', async () => {
    using authority = new TestAuthority()
    await using tokens = startTokenServer({ authority, accounts })
    await using registry = await startRegistry({ auth: tokens })
    using test = new TestClient({ credentials: { [registry.host]: password('alice', 'correct horse') } })
    const [first, second] = [parseReference(`${registry.host}/first`), parseReference(`${registry.host}/second`)]
    await test.client.pushBlob(first, layer, openerOf(content))
    expect(await test.client.pushBlob(second, layer, openerOf(content), { mountFrom: first })).toBe('mounted')
    const scopes = ['repository:second:pull,push', 'repository:first:pull']
    expect(tokens.requests.map(request => request.scopes)).toContainEqual(scopes)
  })
})

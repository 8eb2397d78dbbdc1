/** Uploads that break, into registries of several habits. */
import { describe, expect, test } from 'bun:test'
import { OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { blobOf, failureOf, manifestOf, openerOf, patternOf, sha256, TestClient } from '../support/registry-client.ts'
import { type ScriptedRequest, startScriptedRegistry } from '../support/scripted-registry.ts'
import { answerOf, startWireServer } from '../support/wire-server.ts'

const content = patternOf(1000)
const layer = blobOf(content)

/** A registry's side of an upload. */
class UploadSide {
  stored = Buffer.alloc(0)
  isDone = false
  uploads = 0

  readonly limitBytes: number

  constructor(limitBytes = Number.POSITIVE_INFINITY) {
    this.limitBytes = limitBytes
  }

  readonly answer = (request: ScriptedRequest): Response => {
    const location = `/v2/app/blobs/uploads/${this.uploads}?state=secret`
    const range = `0-${Math.max(0, this.stored.length - 1)}`
    const going = (status: number) => new Response(null, { status, headers: { Location: location, Range: range } })
    if (request.method === 'HEAD') return new Response(null, { status: this.isDone ? 200 : 404 })
    if (request.body.length > this.limitBytes) return new Response('too large', { status: 413 })
    if (request.method === 'POST') {
      this.uploads++
      this.stored = Buffer.alloc(0)
      return new Response(null, {
        status: 202,
        headers: { Location: `/v2/app/blobs/uploads/${this.uploads}?state=secret` },
      })
    }
    if (request.method === 'GET') return going(204)
    if (request.method === 'PATCH') {
      const [, first = '', last = ''] = /^(\d+)-(\d+)$/.exec(request.headers.get('content-range') ?? '') ?? []
      const fits = Number(first) === this.stored.length && Number(last) - Number(first) + 1 === request.body.length
      if (!fits) return new Response(null, { status: 416 })
      this.stored = Buffer.concat([this.stored, request.body])
      return new Response(null, { status: 202, headers: { Location: location, Range: `0-${this.stored.length - 1}` } })
    }
    this.stored = Buffer.concat([this.stored, request.body])
    this.isDone = request.query.get('digest') === sha256(this.stored)
    return new Response(null, { status: this.isDone ? 201 : 400 })
  }
}

const methodsOf = (requests: readonly { readonly method: string }[]): string =>
  requests.map(({ method }) => method).join(' ')

describe('pushBlob()', () => {
  test('sends the whole in one PUT, after one POST', async () => {
    const side = new UploadSide()
    await using registry = startScriptedRegistry(side.answer)
    using test = new TestClient()
    const reference = parseReference(`${registry.host}/app`)
    await test.client.pushBlob(reference, layer, openerOf(content, 300), { mountFrom: reference })
    expect(side.stored.equals(content)).toBe(true)
    expect(methodsOf(registry.requests)).toBe('HEAD POST PUT')
    // The repository itself is none to mount from.
    expect(registry.requests[1]?.query.has('mount')).toBe(false)
    expect(registry.requests[2]?.query.get('state')).toBe('secret')
    expect(registry.requests[2]?.headers.get('content-length')).toBe('1000')
  })

  test('goes on in chunks when the whole is too large for one request', async () => {
    const side = new UploadSide(400)
    await using registry = startScriptedRegistry(side.answer)
    using test = new TestClient({ limits: { chunkBytes: 400 } })
    const progress: number[] = []
    const onProgress = (current: number) => progress.push(current)
    await test.client.pushBlob(parseReference(`${registry.host}/app`), layer, openerOf(content, 300), { onProgress })
    expect(side.stored.equals(content)).toBe(true)
    const patches = registry.requests.filter(({ method }) => method === 'PATCH')
    expect(patches.map(({ headers }) => headers.get('content-range'))).toEqual(['0-399', '400-799', '800-999'])
    expect(progress.at(-1)).toBe(1000)
  })

  test('goes on in chunks no smaller than the registry wants them', async () => {
    const side = new UploadSide(600)
    await using registry = startScriptedRegistry(request => {
      const answer = side.answer(request)
      answer.headers.set('OCI-Chunk-Min-Length', '600')
      return answer
    })
    using test = new TestClient({ limits: { chunkBytes: 400 } })
    await test.client.pushBlob(parseReference(`${registry.host}/app`), layer, openerOf(content, 300))
    const patches = registry.requests.filter(({ method }) => method === 'PATCH')
    expect(patches.map(({ headers }) => headers.get('content-range'))).toEqual(['0-599', '600-999'])
  })

  test('that is refused even in chunks ends with what the registry says', async () => {
    const side = new UploadSide(10)
    await using registry = startScriptedRegistry(side.answer)
    using test = new TestClient({ limits: { chunkBytes: 400 } })
    const error = await failureOf(
      test.client.pushBlob(parseReference(`${registry.host}/app`), layer, openerOf(content)),
    )
    expect(error).toMatchObject({ status: 413 })
    expect(error.message).toContain('takes no request of this size')
  })

  test('goes on where the registry says it was broken', async () => {
    let kept = 0
    await using registry = await startWireServer(({ method, path, headers, body, index }, socket) => {
      const location = { Location: '/v2/app/blobs/uploads/1' }
      if (method === 'HEAD') socket.end(answerOf(404, {}))
      else if (method === 'POST') socket.end(answerOf(202, location))
      else if (method === 'PUT' && index === 2) {
        kept = 600
        socket.destroy()
      } else if (method === 'GET') socket.end(answerOf(204, { ...location, Range: `0-${kept - 1}` }))
      else if (method === 'PATCH') {
        expect(headers['content-range']).toBe('600-999')
        expect(Buffer.from(body, 'latin1').equals(content.subarray(600))).toBe(true)
        kept += body.length
        socket.end(answerOf(202, { ...location, Range: `0-${kept - 1}` }))
      } else {
        expect(path).toContain(`digest=${encodeURIComponent(layer.digest)}`)
        expect(body).toBe('')
        socket.end(answerOf(201, {}))
      }
    })
    using test = new TestClient()
    const offsets: number[] = []
    const open = openerOf(content)
    await test.client.pushBlob(parseReference(`${registry.host}/app`), layer, offset => {
      offsets.push(offset)
      return open(offset)
    })
    expect(kept).toBe(1000)
    expect(offsets).toEqual([0, 600])
    expect(methodsOf(registry.requests)).toBe('HEAD POST PUT HEAD GET PATCH PUT')
  })

  test('begins again when the registry has forgotten the upload', async () => {
    await using registry = await startWireServer(({ method, index }, socket) => {
      if (method === 'HEAD' || method === 'GET') socket.end(answerOf(404, {}))
      else if (method === 'POST') socket.end(answerOf(202, { Location: `/v2/app/blobs/uploads/${index}` }))
      else if (index === 2) socket.destroy()
      else socket.end(answerOf(201, {}))
    })
    using test = new TestClient()
    expect(await test.client.pushBlob(parseReference(`${registry.host}/app`), layer, openerOf(content))).toBe(
      'uploaded',
    )
    expect(methodsOf(registry.requests)).toBe('HEAD POST PUT HEAD GET POST PUT')
  })

  test('is done when only the last answer was lost', async () => {
    await using registry = await startWireServer(({ method, index }, socket) => {
      if (method === 'HEAD') socket.end(answerOf(index === 0 ? 404 : 200, {}))
      else if (method === 'POST') socket.end(answerOf(202, { Location: '/v2/app/blobs/uploads/1' }))
      else socket.destroy()
    })
    using test = new TestClient()
    await test.client.pushBlob(parseReference(`${registry.host}/app`), layer, openerOf(content))
    expect(methodsOf(registry.requests)).toBe('HEAD POST PUT HEAD')
  })

  test('throws what reading the content throws', async () => {
    const side = new UploadSide()
    await using registry = startScriptedRegistry(side.answer)
    using test = new TestClient()
    const damaged = new Error('the blob is damaged')
    const open = async function* () {
      yield content.subarray(0, 100)
      throw damaged
    }
    const work = test.client.pushBlob(parseReference(`${registry.host}/app`), layer, open)
    expect(await failureOf(work)).toBe(damaged)
    expect(side.isDone).toBe(false)
  })

  test('is aborted while it sends', async () => {
    const side = new UploadSide()
    await using registry = startScriptedRegistry(side.answer)
    using test = new TestClient()
    const controller = new AbortController()
    const reason = new Error('enough')
    const open = async function* () {
      yield content.subarray(0, 100)
      controller.abort(reason)
      yield content.subarray(100)
    }
    const { signal } = controller
    const work = test.client.pushBlob(parseReference(`${registry.host}/app`), layer, open, { signal })
    expect(await failureOf(work)).toBe(reason)
    expect(side.isDone).toBe(false)
  })
})

describe('pushDocument()', () => {
  const subject = { mediaType: OCI_MANIFEST, digest: layer.digest, size: 10 }
  const bytes = manifestOf(layer, [layer], { subject, artifactType: 'application/vnd.example.sbom' })
  const reference = (host: string) => ({ ...parseReference(`${host}/app`), digest: sha256(bytes) })

  test('leaves the list of referrers to a registry that says it keeps one', async () => {
    await using registry = startScriptedRegistry(
      () => new Response(null, { status: 201, headers: { 'OCI-Subject': layer.digest } }),
    )
    using test = new TestClient()
    await test.client.pushDocument(reference(registry.host), OCI_MANIFEST, bytes)
    expect(methodsOf(registry.requests)).toBe('PUT')
  })

  test('adds to the tag of referrers otherwise, once', async () => {
    let tagged: Buffer | null = null
    await using registry = startScriptedRegistry(({ method, path, body }) => {
      const isTag = path.endsWith(`/manifests/sha256-${layer.digest.slice('sha256:'.length)}`)
      if (method === 'GET' && isTag)
        return new Response(tagged === null ? null : new Uint8Array(tagged), {
          status: tagged === null ? 404 : 200,
          headers: { 'Content-Type': OCI_INDEX },
        })
      if (isTag) tagged = body
      return new Response(null, { status: 201 })
    })
    using test = new TestClient()
    for (let count = 0; count < 2; count++)
      await test.client.pushDocument(reference(registry.host), OCI_MANIFEST, bytes)
    expect(methodsOf(registry.requests)).toBe('PUT GET PUT PUT GET')
    expect(JSON.parse(String(tagged))).toMatchObject({
      mediaType: OCI_INDEX,
      manifests: [{ digest: sha256(bytes), size: bytes.length, artifactType: 'application/vnd.example.sbom' }],
    })
  })

  test('notices that something else was stored', async () => {
    await using registry = startScriptedRegistry(
      () => new Response(null, { status: 201, headers: { 'Docker-Content-Digest': layer.digest } }),
    )
    using test = new TestClient()
    const error = await failureOf(test.client.pushDocument(reference(registry.host), OCI_MANIFEST, bytes))
    expect(error.message).toContain(`the registry has stored ${layer.digest}`)
  })
})

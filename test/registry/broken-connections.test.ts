/** Servers that break, stall, lie about ranges, or want to be left alone for a while. */
import { describe, expect, test } from 'bun:test'
import type { Socket } from 'node:net'
import { parseReference } from '../../src/oci/reference.ts'
import type { RegistryLimits } from '../../src/registry/limits.ts'
import { RegistryError } from '../../src/registry/registry-error.ts'
import { blobOf, collect, failureOf, manifestOf, patternOf, TestClient } from '../support/registry-client.ts'
import { answerOf, startWireServer, type WireHandler, type WireRequest } from '../support/wire-server.ts'

const blob = patternOf(300)
const layer = blobOf(blob)
const document = manifestOf(layer, [layer])

/** A test of silence need not be silent for long. */
const SILENCE = { inactivityMs: 200 }

const repository = (host: string) => parseReference(`${host}/app:1`)
const rangeOf = ({ headers }: WireRequest): number => Number(/^bytes=(\d+)-$/.exec(headers['range'] ?? '')?.[1] ?? 0)

const rangesOf = (requests: readonly WireRequest[]) => requests.map(({ headers }) => headers['range'] ?? 'none')

/** What a well-behaved server answers for the blob. */
function served(request: WireRequest, extra: Readonly<Record<string, string>> = {}): Buffer {
  if (request.headers['range'] === undefined) return answerOf(200, extra, blob)
  const offset = rangeOf(request)
  const headers = { 'Content-Range': `bytes ${offset}-${blob.length - 1}/${blob.length}`, ...extra }
  return answerOf(206, headers, blob.subarray(offset))
}

/** Connections to break once what they have carried has arrived. */
const toBreak: Socket[] = []

async function* breaking(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    yield piece
    for (const socket of toBreak.splice(0)) socket.destroy()
  }
}

/** Fetches the blob from a server of this behaviour. */
async function fetchFrom(handler: WireHandler, limits: Partial<RegistryLimits> = {}) {
  await using server = await startWireServer(handler)
  using test = new TestClient({ limits })
  const work = collect(breaking(test.client.openBlob(repository(server.host), layer)))
  const outcome = await work.then(
    bytes => ({ bytes, error: null }),
    (error: Error) => ({ bytes: null, error }),
  )
  return { ...outcome, requests: [...server.requests], pausesMs: test.pausesMs }
}

describe('openBlob() when the connection breaks', () => {
  const head = answerOf(200, {}, blob).length - blob.length

  test('at every byte position gives the whole blob, asking for what is missing', async () => {
    const whole = answerOf(200, {}, blob)
    for (let cut = 0; cut < whole.length; cut += cut < head || cut > head + 40 ? 7 : 1) {
      let isCut = false
      const { bytes, requests } = await fetchFrom((request, socket) => {
        const full = served(request)
        if (isCut) return void socket.end(full)
        isCut = true
        socket.end(full.subarray(0, cut))
      })
      expect(Buffer.from(bytes ?? []).equals(blob)).toBe(true)
      expect(requests.length).toBe(2)
    }
  }, 60_000)

  test('after every single byte gives up after the limit of connections', async () => {
    const oneByte: WireHandler = (request, socket) => {
      const full = served(request)
      socket.write(full.subarray(0, full.indexOf('\r\n\r\n') + 5))
      toBreak.push(socket)
    }
    const { error, requests } = await fetchFrom(oneByte, { connections: 10 })
    expect(error?.message).toContain('the connection broke')
    expect(requests.length).toBe(10)
  })

  test('without any progress gives up after the limit of attempts, with growing pauses', async () => {
    const { error, requests, pausesMs } = await fetchFrom((_, socket) => socket.destroy(), { attempts: 4 })
    expect(error).toBeInstanceOf(RegistryError)
    expect(error).toMatchObject({ category: 'unavailable', isTransient: true })
    expect(requests.length).toBe(4)
    expect(pausesMs.length).toBe(3)
    expect(pausesMs.every((ms, index) => ms >= 0 && ms <= 500 * 2 ** index)).toBe(true)
  })

  test('ends early without a Content-Length is noticed by the size', async () => {
    const { bytes, requests } = await fetchFrom((request, socket) => {
      if (request.index > 0) return void socket.end(served(request))
      socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n')
      socket.end(blob.subarray(0, 100))
    })
    expect(Buffer.from(bytes ?? []).equals(blob)).toBe(true)
    expect(requests[1]?.headers['range']).toBe('bytes=100-')
  })

  test('starts where it is told to', async () => {
    await using server = await startWireServer((request, socket) => void socket.end(served(request)))
    using test = new TestClient()
    const rest = await collect(test.client.openBlob(repository(server.host), layer, { offset: 250 }))
    expect(Buffer.from(rest).equals(blob.subarray(250))).toBe(true)
    expect(server.requests[0]?.headers['range']).toBe('bytes=250-')
  })
})

describe('openBlob() from a server that', () => {
  /** Breaks after 100 bytes at first, then answers so. */
  const afterBreak =
    (answer: (request: WireRequest) => Buffer): WireHandler =>
    (request, socket) => {
      if (request.index > 0) return void socket.end(answer(request))
      const full = served(request, { ETag: '"first"' })
      socket.write(full.subarray(0, full.length - 200))
      toBreak.push(socket)
    }

  test('ignores Range drops what it has had', async () => {
    const { bytes, requests } = await fetchFrom(afterBreak(() => answerOf(200, {}, blob)))
    expect(Buffer.from(bytes ?? []).equals(blob)).toBe(true)
    expect(requests.length).toBe(2)
  })

  test.each([
    ['of another beginning', 'bytes 0-299/300'],
    ['that is malformed', 'bytes=100-299'],
    ['that is empty', ''],
  ])('answers a Content-Range %s asks for the whole', async (_, range) => {
    const { bytes, requests } = await fetchFrom(
      afterBreak(request =>
        request.headers['range'] === undefined
          ? answerOf(200, {}, blob)
          : answerOf(206, { 'Content-Range': range }, blob.subarray(100)),
      ),
    )
    expect(Buffer.from(bytes ?? []).equals(blob)).toBe(true)
    expect(rangesOf(requests)).toEqual(['none', 'bytes=100-', 'none'])
  })

  test('answers a range of other content asks for the whole', async () => {
    const { bytes, requests } = await fetchFrom(afterBreak(request => served(request, { ETag: '"second"' })))
    expect(Buffer.from(bytes ?? []).equals(blob)).toBe(true)
    expect(rangesOf(requests)).toEqual(['none', 'bytes=100-', 'none'])
  })

  test('has a range of another size fails at once', async () => {
    const { error, requests } = await fetchFrom(
      afterBreak(() => answerOf(206, { 'Content-Range': 'bytes 100-298/299' }, blob.subarray(100, 299))),
    )
    expect(error?.message).toContain('it has 299 bytes, expected 300')
    expect(requests.length).toBe(2)
  })

  test.each([
    ['fewer', 299],
    ['more', 301],
  ])('has %s bytes than the descriptor fails at once', async (_, size) => {
    const { error, requests } = await fetchFrom(
      (_request, socket) => void socket.end(answerOf(200, {}, patternOf(size))),
    )
    expect(error).toMatchObject({ category: 'invalidArgument' })
    expect(error?.message).toContain(`it has ${size} bytes, expected 300`)
    expect(requests.length).toBe(1)
  })

  test('sends without end is left after the size', async () => {
    const { error } = await fetchFrom((_, socket) => {
      socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n')
      const more = (): void => {
        while (socket.write(blob)) if (socket.destroyed) return
        socket.once('drain', more)
      }
      more()
    })
    expect(error?.message).toContain('it has more than 300 bytes')
  })

  test('falls silent is left after the time without activity, and asked again', async () => {
    const { bytes, requests } = await fetchFrom((request, socket) => {
      if (request.index > 0) return void socket.end(served(request))
      socket.write(served(request).subarray(0, -200))
    }, SILENCE)
    expect(Buffer.from(bytes ?? []).equals(blob)).toBe(true)
    expect(requests[1]?.headers['range']).toBe('bytes=100-')
  })

  test('says nothing at all fails with words for it', async () => {
    const { error } = await fetchFrom(() => undefined, { ...SILENCE, attempts: 2 })
    expect(error?.message).toMatch(
      /^Cannot fetch blob sha256:.* of "127.0.0.1:.*\/app": .* was silent for 0.2 seconds$/,
    )
  })
})

describe('a request that is refused for now', () => {
  const refuse =
    (count: number, status: number, headers: Readonly<Record<string, string>> = {}, body = ''): WireHandler =>
    (request, socket) =>
      void socket.end(
        request.index < count
          ? answerOf(status, headers, body)
          : answerOf(200, { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' }, document),
      )

  const fetchDocument = async (handler: WireHandler) => {
    await using server = await startWireServer(handler)
    using test = new TestClient()
    const outcome = await test.client.fetchDocument(repository(server.host)).then(
      () => null,
      (error: Error) => error,
    )
    return { error: outcome, count: server.requests.length, pausesMs: test.pausesMs }
  }

  test.each([408, 429, 500, 502, 503, 504])('with %d is made again', async status => {
    expect(await fetchDocument(refuse(2, status))).toMatchObject({ error: null, count: 3 })
  })

  test.each([400, 401, 403, 404, 405, 501])('with %d is not made again', async status => {
    expect(await fetchDocument(refuse(9, status))).toMatchObject({ error: { status }, count: 1 })
  })

  test('waits the seconds that Retry-After says', async () => {
    expect((await fetchDocument(refuse(1, 429, { 'Retry-After': '7' }))).pausesMs).toEqual([7000])
  })

  test('waits until the date that Retry-After says', async () => {
    const date = new Date(Date.now() + 30_000).toUTCString()
    const { pausesMs } = await fetchDocument(refuse(1, 503, { 'Retry-After': date }))
    expect(pausesMs[0]).toBeGreaterThan(20_000)
    expect(pausesMs[0]).toBeLessThanOrEqual(30_000)
  })

  test('fails at once when it should wait for longer than a person would', async () => {
    const { error, count, pausesMs } = await fetchDocument(refuse(9, 429, { 'Retry-After': '3600' }))
    expect(error?.message).toContain('; it asks to wait 3600 seconds')
    expect([count, pausesMs]).toEqual([1, []])
  })

  test('tells the rate limit and what helps', async () => {
    const body = JSON.stringify({ errors: [{ code: 'TOOMANYREQUESTS', message: 'You have reached your limit' }] })
    const { error, count } = await fetchDocument(refuse(9, 429, { 'RateLimit-Limit': '100;w=21600' }, body))
    expect(error?.message).toMatch(
      /GET http:.*\/v2\/app\/manifests\/1 gave 429 \(TOOMANYREQUESTS: You have reached your limit\); its limit is 100 requests in 21600 seconds; accounts often have a higher one, see "berth login 127.0.0.1:\d+"$/,
    )
    expect(count).toBe(5)
  })

  test('shows no more of an endless error than fits, and no control characters', async () => {
    const body = `{"errors":[{"code":"DENIED","message":"\\u001b[2J${'x'.repeat(10_000)}"}]}`
    const { error } = await fetchDocument(refuse(9, 403, {}, body))
    expect(error?.message.length).toBeLessThan(700)
    expect(error?.message).not.toContain('\u001b')
    const endless = await fetchDocument((_, socket) => {
      socket.write('HTTP/1.1 404 No\r\nConnection: close\r\n\r\n')
      const more = (): void => {
        while (socket.write(blob)) if (socket.destroyed) return
        socket.once('drain', more)
      }
      more()
    })
    expect(endless.error).toMatchObject({ status: 404 })
  })

  test('breaks within a document is made again', async () => {
    const { error, count } = await fetchDocument((request, socket) => {
      const full = answerOf(200, { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' }, document)
      socket.end(request.index === 0 ? full.subarray(0, -10) : full)
    })
    expect([error, count]).toEqual([null, 2])
  })

  test('that is larger than any document is not read', async () => {
    const { error, count } = await fetchDocument((_, socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\nConnection: close\r\n\r\n')
      const more = (): void => {
        while (socket.write(Buffer.alloc(65_536))) if (socket.destroyed) return
        socket.once('drain', more)
      }
      more()
    })
    expect(error?.message).toContain('gave more than 4194304 bytes')
    expect(count).toBe(1)
  })
})

describe('an abort', () => {
  const stalls: Readonly<Record<string, WireHandler>> = {
    'before the answer': () => undefined,
    'within the body': (request, socket) => void socket.write(served(request).subarray(0, -200)),
  }
  for (const [when, handler] of Object.entries(stalls)) {
    test(`${when} ends openBlob() with its reason, and the connection`, async () => {
      const closed = Promise.withResolvers<void>()
      const arrived = Promise.withResolvers<void>()
      await using server = await startWireServer((request, socket) => {
        socket.on('close', () => closed.resolve())
        handler(request, socket)
        arrived.resolve()
      })
      using test = new TestClient()
      const controller = new AbortController()
      const work = failureOf(
        collect(test.client.openBlob(repository(server.host), layer, { signal: controller.signal })),
      )
      await arrived.promise
      const reason = new Error('enough')
      controller.abort(reason)
      expect(await work).toBe(reason)
      await closed.promise
      expect(server.requests.length).toBe(1)
    })
  }

  test('before the first byte asks nobody', async () => {
    await using server = await startWireServer((request, socket) => void socket.end(served(request)))
    using test = new TestClient()
    const signal = AbortSignal.abort(new Error('enough'))
    expect((await failureOf(test.client.resolve(repository(server.host), signal))).message).toBe('enough')
    expect(server.requests).toEqual([])
  })

  test('by leaving the iteration ends the connection', async () => {
    const closed = Promise.withResolvers<void>()
    await using server = await startWireServer((_, socket) => {
      socket.on('close', () => closed.resolve())
      socket.write(answerOf(200, {}, blob).subarray(0, -200))
    })
    using test = new TestClient()
    for await (const piece of test.client.openBlob(repository(server.host), layer)) {
      expect(piece.length).toBeGreaterThan(0)
      break
    }
    await closed.promise
  })
})

/** A registry in the test's own process that answers what the test says, by plain HTTP or TLS, and keeps what it was asked. */

import type { AuthorityFiles } from './certificates.ts'

/** One request as it came; `authorization` is null when there was none. */
export interface ScriptedRequest {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: Headers
  readonly authorization: string | null
  readonly body: Buffer
}

/** What the test says. */
export type Script = (request: ScriptedRequest) => Response | Promise<Response>

/** A server that runs. */
export interface ScriptedRegistry extends AsyncDisposable {
  readonly host: string
  readonly origin: string
  readonly requests: ScriptedRequest[]
  /** Every Authorization that came, in order. */
  readonly authorizations: () => readonly string[]
}

/** Starts one on a free port of loopback. */
export function startScriptedRegistry(script: Script, tls?: AuthorityFiles): ScriptedRegistry {
  const requests: ScriptedRequest[] = []
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    ...(tls !== undefined && { tls: { cert: Bun.file(tls.certificatePath), key: Bun.file(tls.keyPath) } }),
    async fetch(request) {
      const { pathname, searchParams } = new URL(request.url)
      const seen = {
        method: request.method,
        path: pathname,
        query: searchParams,
        headers: request.headers,
        authorization: request.headers.get('authorization'),
        body: Buffer.from(await request.arrayBuffer()),
      }
      requests.push(seen)
      return await script(seen)
    },
  })
  const host = `127.0.0.1:${server.port}`
  return {
    host,
    origin: `${tls === undefined ? 'http' : 'https'}://${host}`,
    requests,
    authorizations: () => requests.flatMap(({ authorization }) => (authorization === null ? [] : [authorization])),
    [Symbol.asyncDispose]: async () => void (await server.stop(true)),
  }
}

/** 401 with a challenge. */
export function challenge(text: string): Response {
  return new Response(null, { status: 401, headers: { 'WWW-Authenticate': text } })
}

/** A redirect. */
export function redirect(location: string, status = 307): Response {
  return new Response(null, { status, headers: { Location: location } })
}

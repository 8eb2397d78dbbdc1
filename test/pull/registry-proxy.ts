/** Stands in front of a registry: remembers what is asked, and answers some of it itself. */

import { createServer, type IncomingMessage, request as requestOf, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A request as it came. */
export interface SeenRequest {
  readonly method: string
  /** Path and query. */
  readonly path: string
  readonly range: string | null
}

const FLUSH_MS = 30

/** What is done with a request; null: the registry answers. */
export type Fate =
  | {
      readonly kind: 'answer'
      readonly status: number
      readonly headers?: Readonly<Record<string, string>>
      readonly body?: string | Uint8Array
    }
  /** The registry's answer, of which the connection breaks after so many bytes of the body. */
  | { readonly kind: 'cut'; readonly afterBytes: number }
  /** The registry's answer with other bytes. */
  | { readonly kind: 'change'; readonly change: (body: Buffer) => Uint8Array }
  /** The registry's answer, one byte of the body each millisecond. */
  | { readonly kind: 'trickle' }
  | { readonly kind: 'hang up' }

/** A proxy that runs until it is disposed of. */
export interface RegistryProxy extends Disposable {
  /** `127.0.0.1:40123`, the domain of references through it. */
  readonly host: string
  readonly seen: SeenRequest[]
  fateOf: (request: SeenRequest) => Fate | null
  /** Requests of a method for blobs. */
  blobs(method: string): readonly SeenRequest[]
}

/** Starts one in front of the registry at a host. */
export async function startProxy(registry: string): Promise<RegistryProxy> {
  const seen: SeenRequest[] = []
  const server = createServer((incoming, outgoing) => {
    const { method = '', url = '', headers } = incoming
    const entry = { method, path: url, range: headers.range ?? null }
    seen.push(entry)
    const fate = proxy.fateOf(entry)
    if (fate?.kind === 'hang up') {
      outgoing.destroy()
    } else if (fate?.kind === 'answer') {
      incoming.resume()
      outgoing.writeHead(fate.status, fate.headers).end(fate.body)
    } else forward(registry, incoming, outgoing, fate)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const proxy: RegistryProxy = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    fateOf: () => null,
    blobs: method => seen.filter(each => each.method === method && /\/blobs\/sha256:/.test(each.path)),
    [Symbol.dispose]() {
      server.close()
      server.closeAllConnections()
    },
  }
  return proxy
}

type Spoilt = Exclude<Fate, { readonly kind: 'answer' | 'hang up' }>

function forward(registry: string, incoming: IncomingMessage, outgoing: ServerResponse, fate: Spoilt | null): void {
  const [hostname, port] = registry.split(':')
  const { method, url: path, headers } = incoming
  const asked = requestOf({ hostname, port, method, path, headers, agent: false }, answer => {
    const { 'content-length': _, ...unsized } = answer.headers
    outgoing.writeHead(answer.statusCode ?? 502, fate?.kind === 'change' ? unsized : answer.headers)
    if (fate === null) {
      answer.pipe(outgoing)
      return
    }
    const pieces: Buffer[] = []
    answer.on('data', piece => pieces.push(piece))
    answer.on('end', () => spoil(outgoing, Buffer.concat(pieces), fate))
  })
  asked.on('error', () => outgoing.destroy())
  outgoing.on('close', () => asked.destroy())
  incoming.pipe(asked)
}

function spoil(outgoing: ServerResponse, body: Buffer, fate: Spoilt): void {
  if (fate.kind === 'change') {
    outgoing.end(fate.change(body))
  } else if (fate.kind === 'cut') {
    // One byte at least, so that the headers go too; and then some time, since Bun's destroy() drops what it has not yet given to the kernel.
    outgoing.write(body.subarray(0, Math.max(1, fate.afterBytes)), () => setTimeout(() => outgoing.destroy(), FLUSH_MS))
  } else {
    let at = 0
    const timer = setInterval(() => {
      if (outgoing.destroyed || at >= body.length) {
        clearInterval(timer)
        outgoing.end()
      } else outgoing.write(body.subarray(at, ++at))
    }, 1)
  }
}

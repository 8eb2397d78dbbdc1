/** Servers that do to a connection what no HTTP server would. */

import { createServer, type Server, type Socket } from 'node:net'

/** One request as it came. */
export interface WireRequest {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** Which request to this server it is, from 0 on. */
  readonly index: number
}

/** Answers by writing to the socket. */
export type WireHandler = (request: WireRequest, socket: Socket) => void

/** A server that runs. */
export interface WireServer extends AsyncDisposable {
  readonly host: string
  readonly requests: WireRequest[]
}

/** Starts one on a free port of loopback. A connection serves one request. */
export async function startWireServer(handler: WireHandler): Promise<WireServer> {
  const requests: WireRequest[] = []
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    // The other side may be gone: that is what these tests are about.
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    let received = ''
    let isAnswered = false
    socket.on('data', bytes => {
      received += bytes.toString('latin1')
      const request = isAnswered ? null : parse(received, requests.length)
      if (request === null) return
      isAnswered = true
      requests.push(request)
      handler(request, socket)
    })
  })
  const port = await listen(server)
  return {
    host: `127.0.0.1:${port}`,
    requests,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

function listen(server: Server): Promise<number> {
  return new Promise(resolve => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : 0)
    })
  })
}

function parse(text: string, index: number): WireRequest | null {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return null
  const [first = '', ...lines] = text.slice(0, end).split('\r\n')
  const [method = '', path = ''] = first.split(' ')
  const headers = Object.fromEntries(lines.map(line => /^([^:]*): *(.*)$/.exec(line)?.slice(1) ?? ['', '']))
  const lower: Record<string, string> = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]),
  )
  const body = text.slice(end + 4)
  if (body.length < Number(lower['content-length'] ?? 0)) return null
  return { method, path, headers: lower, body, index }
}

/** The text of an answer that closes its connection. */
export function answerOf(
  status: number,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array | string = '',
): Buffer {
  const bytes = Buffer.from(body)
  const all = { 'Content-Length': String(bytes.length), Connection: 'close', ...headers }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status} Said\r\n${lines.join('')}\r\n`, 'latin1'), bytes])
}

import { connect, createServer } from 'node:net'

/** Passes connections on, and counts what comes back. */
export interface CountingProxy extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string
  /** Bytes that were received from the server since it began. */
  readonly receivedBytes: () => number
}

/** Listens on loopback for a server on loopback. */
export async function countingProxy(port: number): Promise<CountingProxy> {
  let receivedBytes = 0
  const server = createServer(client => {
    const upstream = connect(port, '127.0.0.1')
    const end = (): void => {
      client.destroy()
      upstream.destroy()
    }
    client.on('error', end).on('close', end)
    upstream.on('error', end).on('close', end)
    upstream.on('data', bytes => {
      receivedBytes += bytes.length
    })
    client.pipe(upstream)
    upstream.pipe(client)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const own = typeof address === 'object' && address !== null ? address.port : 0
  return {
    host: `127.0.0.1:${own}`,
    receivedBytes: () => receivedBytes,
    [Symbol.asyncDispose]: async () => {
      server.close()
    },
  }
}

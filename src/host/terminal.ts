import type { ShimConnection, ShimExit } from './shim-client.ts'

/** Size of the terminal on our standard output; null when there is none. */
export function terminalSize(): { readonly rows: number; readonly columns: number } | null {
  const { rows, columns } = process.stdout
  return rows === undefined || columns === undefined ? null : { rows, columns }
}

/**
 * Connects our standard input to a shim until the container ends. With a terminal on our side it is put into raw mode meanwhile and
 * changes of its size are passed on; it is always put back, also when the connection breaks.
 */
export async function relayInput(shim: ShimConnection, terminal: boolean): Promise<ShimExit> {
  const { stdin } = process
  const raw = terminal && stdin.isTTY === true
  const resize = (): void => {
    const size = terminalSize()
    if (size !== null) shim.resize(size.rows, size.columns).catch(() => undefined)
  }
  if (raw) stdin.setRawMode(true)
  if (terminal) {
    resize()
    process.stdout.on('resize', resize)
  }
  stdin.on('data', (bytes: Buffer) => {
    // The shim takes no more than the container does; stop reading until it has.
    stdin.pause()
    shim.write(bytes).then(
      () => stdin.resume(),
      // The container has ended or the connection broke, which `exited` tells.
      () => undefined,
    )
  })
  stdin.on('end', () => shim.closeStdin().catch(() => undefined))
  try {
    return await shim.exited
  } finally {
    process.stdout.off('resize', resize)
    if (raw) stdin.setRawMode(false)
    stdin.pause()
  }
}

/**
 * A writer to our standard output or error: resolves when the bytes are out, so that a slow reader slows the container and not
 * our memory. Not `process.stdout`, whose `drain` Bun 1.4.5 loses when a socket is paused meanwhile.
 * @throws EPIPE, when the reader is gone
 */
export function outputWriter(stream: 'stdout' | 'stderr'): (bytes: Uint8Array) => Promise<void> {
  const sink = Bun[stream].writer()
  return async bytes => {
    await sink.write(bytes)
    await sink.flush()
  }
}

import { invariant } from '../lib/error.ts'
import { O_NOCTTY, O_RDWR } from '../linux/open-flags.ts'
import { rawTermios, silentTermios, TERMIOS_BYTES } from '../linux/termios.ts'
import { SlotTable } from '../plan/slots.ts'
import { step } from '../plan/step.ts'
import { Helper } from './helper.ts'
import type { ShimConnection, ShimExit } from './shim-client.ts'

/** Size of the terminal on our standard output; null when there is none. */
export function terminalSize(): { readonly rows: number; readonly columns: number } | null {
  const { rows, columns } = process.stdout
  return rows === undefined || columns === undefined ? null : { rows, columns }
}

/**
 * Puts the terminal that we are controlled from into raw mode until disposed. Through berth-init, because Bun 1.4.5's setRawMode
 * leaves output processing on, which full-screen programs do not survive. Without a terminal nothing happens.
 */
export function rawTerminal(): Promise<AsyncDisposable> {
  return changedTerminal(rawTermios, 'put it into raw mode')
}

/** Keeps the terminal that we are controlled from from showing what is typed until disposed, for a password. */
export function silentTerminal(): Promise<AsyncDisposable> {
  return changedTerminal(silentTermios, 'turn off its echo')
}

async function changedTerminal(change: (settings: Uint8Array) => Uint8Array, why: string): Promise<AsyncDisposable> {
  if (process.stdin.isTTY !== true) return { [Symbol.asyncDispose]: () => Promise.resolve() }
  const helper = new Helper()
  const tty = new SlotTable().allocate('terminal of the caller')
  const { data } = await helper.run([
    step('open', { path: '/dev/tty', flags: O_RDWR | O_NOCTTY, mode: 0, out: tty }, "open the caller's terminal"),
    step('tty_get', { fd: tty }, 'remember its settings'),
  ])
  const before = data[0]
  invariant(before?.length === TERMIOS_BYTES, 'settings of a terminal')
  const set = (settings: Uint8Array, why: string): Promise<unknown> =>
    helper.run([step('tty_set', { fd: tty, settings }, why)])
  await set(change(before), why)
  return {
    async [Symbol.asyncDispose]() {
      await set(before, 'put it back')
      await helper[Symbol.asyncDispose]()
    },
  }
}

/** Passes changes of our terminal's size on to a shim until disposed, and the size that it has now at once. */
export function relaySize(shim: ShimConnection): Disposable {
  const resize = (): void => {
    const size = terminalSize()
    // A container that has ended meanwhile has no use for it.
    if (size !== null) shim.resize(size.rows, size.columns).catch(() => undefined)
  }
  resize()
  process.stdout.on('resize', resize)
  return { [Symbol.dispose]: () => void process.stdout.off('resize', resize) }
}

/**
 * Connects our standard input to a shim until the container ends. A terminal has been put into raw mode ({@link rawTerminal}).
 * Read piece by piece, as the shim takes no more than the container does. Not by `process.stdin`: Bun 1.4.5 loses its end now and
 * then when it is paused and resumed, and the container would wait for more for ever.
 */
export async function relayInput(shim: ShimConnection): Promise<ShimExit> {
  const reader = Bun.stdin.stream().getReader()
  const relay = async (): Promise<void> => {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return await shim.closeStdin()
      await shim.write(value)
    }
  }
  // The container has ended or the connection broke, which `exited` tells.
  relay().catch(() => undefined)
  try {
    return await shim.exited
  } finally {
    reader.cancel().catch(() => undefined)
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

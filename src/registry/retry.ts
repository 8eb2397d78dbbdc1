import type { RegistryLimits } from './limits.ts'
import { RegistryError } from './registry-error.ts'

/** Waits, or throws the signal's reason when it is aborted before. */
export type Pause = (ms: number, signal?: AbortSignal) => Promise<void>

/** A {@link Pause} by the clock. */
export const pause: Pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason)
    const stop = (): void => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, ms)
    signal?.addEventListener('abort', stop, { once: true })
  })

/** What {@link withRetries} needs to know. */
export interface RetryOptions {
  readonly limits: RegistryLimits
  readonly pause: Pause
  readonly signal: AbortSignal | undefined
}

/**
 * Attempts until it succeeds, fails for good, or has failed `limits.attempts` times; the last error is thrown.
 * @throws {RegistryError} at once when the registry asks for a longer pause than `limits.retryAfterCapMs`
 */
export async function withRetries<T>(attempt: () => Promise<T>, options: RetryOptions): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt()
    } catch (error) {
      if (failures >= options.limits.attempts) throw error
      await pauseAfter(error, failures, options)
    }
  }
}

/** Waits as long as is right after a number of failures in a row; throws the error when trying again makes no sense. */
export async function pauseAfter(error: unknown, failures: number, options: RetryOptions): Promise<void> {
  const { limits, signal } = options
  if (!(error instanceof RegistryError) || !error.isTransient || signal?.aborted === true) throw error
  if (error.retryAfterMs !== null && error.retryAfterMs > limits.retryAfterCapMs) {
    const seconds = Math.ceil(error.retryAfterMs / 1000)
    throw new RegistryError(error.category, `${error.message}; it asks to wait ${seconds} seconds`, {
      ...error,
      isTransient: false,
      cause: error,
    })
  }
  // A random part of the whole pause ("full jitter"), so that many clients of a registry that has come back do not come at once.
  const backoffMs = Math.min(limits.backoffCapMs, limits.backoffMs * 2 ** (failures - 1)) * Math.random()
  await options.pause(error.retryAfterMs ?? backoffMs, signal)
}

/**
 * Does work for each item, at most `limit` at a time, in their order. On the first failure the others are told to stop by their
 * signal, and it is thrown when all have ended: nothing is going on any more.
 */
export async function runBounded<T>(
  items: Iterable<T>,
  limit: number,
  work: (item: T, signal: AbortSignal) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const failed = new AbortController()
  const either = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal])
  // One iterator for all: each takes what is next.
  const queue = items[Symbol.iterator]()
  let failure: { readonly error: unknown } | null = null
  const worker = async (): Promise<void> => {
    try {
      for (let next = queue.next(); next.done !== true && failure === null; next = queue.next()) {
        either.throwIfAborted()
        await work(next.value, either)
      }
    } catch (error) {
      failure ??= { error }
      failed.abort(error)
    }
  }
  await Promise.all(Array.from({ length: limit }, worker))
  const outcome = failure as { readonly error: unknown } | null
  if (outcome !== null) throw outcome.error
}

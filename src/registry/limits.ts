/** How long and how often a registry is asked. */
export interface RegistryLimits {
  /** Attempts of one request, and of one blob without any progress between them. */
  readonly attempts: number
  /** Connections that one blob may take: a server that gives one byte each time must not hold us for ever. */
  readonly connections: number
  /** The first pause between attempts; each next one may be twice as long, and a random part of it is waited. */
  readonly backoffMs: number
  readonly backoffCapMs: number
  /** The longest Retry-After that is obeyed; when a registry wants more, the request fails and says so. */
  readonly retryAfterCapMs: number
  /** Without a byte for so long, a connection counts as broken. */
  readonly inactivityMs: number
  /** The same for the answer after an upload: registries hash, and copy within their object store, before they answer. */
  readonly uploadAnswerMs: number
  readonly redirects: number
  /** Pages of tags, repositories or referrers; each has at most {@link DOCUMENT_LIMIT_BYTES}. */
  readonly pages: number
  /** What is sent in one request of an upload when the registry refuses the whole as too large. */
  readonly chunkBytes: number
}

/** What is right on the Internet as it is: five attempts within about ten seconds, a minute without a byte. */
export const DEFAULT_LIMITS: RegistryLimits = Object.freeze({
  attempts: 5,
  connections: 100,
  backoffMs: 500,
  backoffCapMs: 10_000,
  retryAfterCapMs: 60_000,
  inactivityMs: 60_000,
  uploadAnswerMs: 600_000,
  redirects: 10,
  pages: 1000,
  chunkBytes: 16 * 1024 * 1024,
})

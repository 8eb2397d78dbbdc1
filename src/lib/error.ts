/** What kind of failure an error is; tables map it to an exit code or an HTTP status. */
export type ErrorCategory =
  | 'notFound'
  | 'invalidArgument'
  | 'conflict'
  | 'unavailable'
  | 'unauthorized'
  | 'forbidden'
  | 'notImplemented'
  | 'cancelled'
  | 'internal'

/** An error of the world (not a bug of ours), worded `Cannot <verb> <object> "<value>": <state>`. */
export class BerthError extends Error {
  override readonly name: string = 'BerthError'
  readonly category: ErrorCategory

  constructor(category: ErrorCategory, message: string, options?: ErrorOptions) {
    super(message, options)
    this.category = category
  }
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** States a truth of our own code; throws when it is false, which is a bug. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`invariant violated: ${message}`)
}

/** Makes a switch over a union exhaustive. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value: ${JSON.stringify(value)}`)
}

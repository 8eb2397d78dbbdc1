import { BerthError } from '../lib/error.ts'
import { object, parseJson, text } from '../lib/json-shape.ts'
import type { Credential } from './credentials.ts'

/** Long enough for a person to unlock a key ring, short enough to notice that nobody does. */
const LIMIT_MS = 120_000
const OUTPUT_LIMIT_BYTES = 64 * 1024
/** What helpers say, word for word, when they have nothing. Source: docker-credential-helpers › credentials/error.go. */
const NOT_FOUND = 'credentials not found in native keychain'
/** The user name that says that the secret is an identity token. */
const TOKEN_USER = '<token>'

interface Answer {
  readonly ServerURL?: string
  readonly Username?: string
  readonly Secret?: string
}

const answer = object<Answer>({ ServerURL: text, Username: text, Secret: text })

/** How a helper is found and run. */
export interface CredentialHelperOptions {
  /** The environment of the helper; its PATH is where it is looked for. */
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly limitMs?: number
}

/**
 * A program `docker-credential-<name>` that keeps credentials, in a key ring for instance.
 * Source: docker-credential-helpers › Development: the verb is its argument, stdin and stdout carry one document each.
 */
export class CredentialHelper {
  readonly #program: string
  readonly #options: CredentialHelperOptions

  /** @throws {BerthError} invalidArgument: not the name of a program */
  constructor(name: string, options: CredentialHelperOptions) {
    // The name comes from a file that containers and tools write; with a slash it would be any program.
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name))
      throw new BerthError('invalidArgument', `Cannot use credential helper "${name}": it is no name of a program`)
    this.#program = `docker-credential-${name}`
    this.#options = options
  }

  /** What it has for a server; null: nothing. @throws {BerthError} unavailable: it is not there, fails, or does not end */
  async get(server: string, signal?: AbortSignal): Promise<Credential | null> {
    const output = await this.#run('get', server, signal)
    if (output === null) return null
    let found: Answer
    try {
      found = parseJson(output, 'answer', answer).value
    } catch (error) {
      // Not the parser's words: they may quote the secret.
      if (!(error instanceof BerthError)) throw error
      throw this.#failure('get', 'its answer is not the JSON of a credential')
    }
    const { Username = '', Secret = '' } = found
    if (Secret === '') return null
    if (Username === TOKEN_USER) return { kind: 'identityToken', token: Secret }
    return { kind: 'password', username: Username, password: Secret }
  }

  /** Has it keep a credential. */
  async store(server: string, credential: Credential, signal?: AbortSignal): Promise<void> {
    const [Username, Secret] =
      credential.kind === 'password' ? [credential.username, credential.password] : [TOKEN_USER, credential.token]
    await this.#run('store', JSON.stringify({ ServerURL: server, Username, Secret }), signal)
  }

  /** Has it forget what it has for a server; returns whether it had anything. */
  async erase(server: string, signal?: AbortSignal): Promise<boolean> {
    return (await this.#run('erase', server, signal)) !== null
  }

  /** What the helper prints; null: it has nothing. */
  async #run(verb: string, input: string, signal: AbortSignal | undefined): Promise<string | null> {
    const { environment, limitMs = LIMIT_MS } = this.#options
    const path = findProgram(this.#program, environment['PATH'] ?? '')
    if (path === null) throw this.#failure(verb, 'no directory of PATH has it')
    const limit = AbortSignal.timeout(limitMs)
    const child = Bun.spawn([path, verb], {
      stdin: new TextEncoder().encode(input),
      stdout: 'pipe',
      stderr: 'ignore',
      env: { ...environment },
      killSignal: 'SIGKILL',
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
    })
    const output = await readLimited(child.stdout).finally(() => child.kill('SIGKILL'))
    const status = await child.exited
    signal?.throwIfAborted()
    if (limit.aborted) throw this.#failure(verb, `it did not end within ${limitMs / 1000} seconds`)
    if (output === null) throw this.#failure(verb, `it printed more than ${OUTPUT_LIMIT_BYTES} bytes`)
    if (status === 0) return output
    if (output.trim() === NOT_FOUND) return null
    // What a helper prints when it fails is its error; when it was killed while it answered, it could be a secret.
    const said = verb === 'get' && output.includes('"Secret"') ? '' : `: ${output.trim().slice(0, 200)}`
    throw this.#failure(verb, `exit status ${status}${said}`)
  }

  #failure(verb: string, why: string): BerthError {
    return new BerthError('unavailable', `Cannot ${verb} credentials by "${this.#program}": ${why}`)
  }
}

/** In absolute directories only: a relative one would be whatever the working directory holds. */
function findProgram(program: string, path: string): string | null {
  const directories = path.split(':').filter(each => each.startsWith('/'))
  return directories.length === 0 ? null : Bun.which(program, { PATH: directories.join(':') })
}

async function readLimited(stream: ReadableStream<Uint8Array>): Promise<string | null> {
  const pieces: Uint8Array[] = []
  let total = 0
  for await (const piece of stream) {
    total += piece.length
    if (total > OUTPUT_LIMIT_BYTES) return null
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString('utf8')
}

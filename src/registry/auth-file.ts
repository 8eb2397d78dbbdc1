import { randomUUID } from 'node:crypto'
import { mkdir, open, readFile, realpath, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { BerthError, messageOf } from '../lib/error.ts'
import { map, object, parseJson, text } from '../lib/json-shape.ts'
import type { Credential } from './credentials.ts'

/** What one entry of `auths` may have. */
interface Entry {
  readonly auth?: string
  readonly identitytoken?: string
  readonly username?: string
  readonly password?: string
}

/** What a file says; the names of helpers as written. */
export interface AuthFileContent {
  readonly auths: Readonly<Record<string, Entry>>
  readonly credsStore: string | null
  readonly credHelpers: Readonly<Record<string, string>>
}

interface Wire {
  readonly auths?: Readonly<Record<string, Entry>>
  readonly credsStore?: string
  readonly credHelpers?: Readonly<Record<string, string>>
}

const shape = object<Wire>({
  auths: map(object<Entry>({ auth: text, identitytoken: text, username: text, password: text })),
  credsStore: text,
  credHelpers: map(text),
})

const FILE_LIMIT_BYTES = 1024 * 1024
const EMPTY: AuthFileContent = Object.freeze({ auths: {}, credsStore: null, credHelpers: {} })

/**
 * A file of credentials: Docker's `config.json` or the `auth.json` of containers(5), which have the same form. Properties that
 * are none of our business stay as they are when it is written.
 */
export class AuthFile {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  /** What it says; nothing when it is not there. @throws {BerthError} invalidArgument: malformed; forbidden: unreadable */
  async read(): Promise<AuthFileContent> {
    const source = await this.#text()
    if (source.trim() === '') return EMPTY
    try {
      const { auths = {}, credsStore = '', credHelpers = {} } = parseJson(source, this.path, shape).value
      return { auths, credsStore: credsStore === '' ? null : credsStore, credHelpers }
    } catch (error) {
      if (error instanceof BerthError && /\bauths\b/.test(error.message)) {
        // The value could be a password.
        throw new BerthError('invalidArgument', `Cannot parse ${this.path}: auths has an entry of another form`)
      }
      throw error
    }
  }

  /** Sets or removes (null) the credential under a key. The file is replaced as a whole, readable by its owner alone. */
  async write(key: string, credential: Credential | null): Promise<void> {
    const source = await this.#text()
    const document = source.trim() === '' ? {} : asObject(JSON.parse(source), this.path)
    const auths = { ...asObject(document['auths'] ?? {}, this.path) }
    if (credential === null) delete auths[key]
    else Object.defineProperty(auths, key, { value: entryOf(credential), enumerable: true, configurable: true })
    await this.#replace(`${JSON.stringify({ ...document, auths }, null, '\t')}\n`)
  }

  async #text(): Promise<string> {
    try {
      const bytes = await readFile(this.path)
      if (bytes.length <= FILE_LIMIT_BYTES) return bytes.toString('utf8')
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' || code === 'ENOTDIR') return ''
      throw new BerthError('forbidden', `Cannot read "${this.path}": ${code ?? messageOf(error)}`, { cause: error })
    }
    throw new BerthError('invalidArgument', `Cannot read "${this.path}": it has more than ${FILE_LIMIT_BYTES} bytes`)
  }

  async #replace(content: string): Promise<void> {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 })
    // People keep the file in a repository of theirs and link to it: the link stays.
    const target = await realpath(this.path).catch(() => this.path)
    const temporary = join(dirname(target), `.${randomUUID()}.tmp`)
    await using undo = new AsyncDisposableStack()
    const file = await open(temporary, 'wx', 0o600)
    undo.defer(() => rm(temporary, { force: true }))
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, target)
  }
}

function asObject(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new BerthError('invalidArgument', `Cannot parse ${path}: it is no object, or its auths are none`)
}

function entryOf(credential: Credential): Entry {
  if (credential.kind === 'identityToken') return { auth: '', identitytoken: credential.token }
  return { auth: Buffer.from(`${credential.username}:${credential.password}`).toString('base64') }
}

/** The credential of an entry; null: it has none, as when a helper keeps it. */
export function credentialOf(entry: Entry): Credential | null {
  const { auth = '', identitytoken = '', username = '', password = '' } = entry
  if (identitytoken !== '') return { kind: 'identityToken', token: identitytoken }
  // Old clients wrote the terminating NUL of C.
  const decoded = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '')
  const colon = decoded.indexOf(':')
  if (colon > 0) return { kind: 'password', username: decoded.slice(0, colon), password: decoded.slice(colon + 1) }
  return username === '' ? null : { kind: 'password', username, password }
}

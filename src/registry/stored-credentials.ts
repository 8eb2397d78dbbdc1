import { AuthFile, type AuthFileContent, credentialOf } from './auth-file.ts'
import { CredentialHelper, type CredentialHelperOptions } from './credential-helper.ts'
import type { Credential, CredentialSource } from './credentials.ts'

/** The key under which Docker's clients keep the credentials of the default registry. */
const DEFAULT_REGISTRY_KEY = 'https://index.docker.io/v1/'
/** The names that the default registry has had; its credentials are the same at all of them. */
const DEFAULT_REGISTRY_HOSTS: readonly string[] = ['docker.io', 'index.docker.io', 'registry-1.docker.io']

/** Where a credential was put. */
export interface StoredAt {
  /** A file, or the name of a helper. */
  readonly place: string
  /** In a file: whoever can read that can use it. */
  readonly isClear: boolean
}

/**
 * The credentials of a user, in files and with helpers: the first file that has some for a host decides. What is stored goes
 * where it is looked for first. Source: docker-login(1), containers-auth.json(5).
 */
export class StoredCredentials implements CredentialSource {
  readonly #files: readonly [AuthFile, ...AuthFile[]]
  readonly #helperOptions: CredentialHelperOptions

  constructor(paths: readonly [string, ...string[]], helperOptions: CredentialHelperOptions) {
    const [first, ...others] = paths
    this.#files = [new AuthFile(first), ...others.map(path => new AuthFile(path))]
    this.#helperOptions = helperOptions
  }

  async find(host: string, repository: string, signal?: AbortSignal): Promise<Credential | null> {
    for (const file of this.#files) {
      const content = await file.read()
      const helper = this.#helperFor(host, content)
      const found = (await helper?.get(keyFor(host), signal)) ?? bestEntry(content, host, repository)
      if (found !== null) return found
    }
    return null
  }

  /** Keeps a credential for a host: with the helper that is configured for it, else in the first file. */
  async store(host: string, credential: Credential, signal?: AbortSignal): Promise<StoredAt> {
    const [file] = this.#files
    const content = await file.read()
    const helper = helperName(host, content)
    if (helper === null) {
      await file.write(keyFor(host), credential)
      return { place: file.path, isClear: true }
    }
    await this.#helper(helper).store(keyFor(host), credential, signal)
    // An entry of before would stay readable.
    if (Object.hasOwn(content.auths, keyFor(host))) await file.write(keyFor(host), null)
    return { place: helper, isClear: false }
  }

  /** Forgets the credentials for a host, wherever they are; returns whether there were any. */
  async erase(host: string, signal?: AbortSignal): Promise<boolean> {
    let had = false
    for (const file of this.#files) {
      const content = await file.read()
      const helper = this.#helperFor(host, content)
      if (helper !== null && (await helper.get(keyFor(host), signal)) !== null)
        had = (await helper.erase(keyFor(host), signal)) || had
      for (const key of Object.keys(content.auths).filter(each => placeOf(each).host === canonical(host))) {
        // A namespace's credentials are another login's.
        if (placeOf(key).path !== '') continue
        had = true
        await file.write(key, null)
      }
    }
    return had
  }

  #helperFor(host: string, content: AuthFileContent): CredentialHelper | null {
    const name = helperName(host, content)
    return name === null ? null : this.#helper(name)
  }

  #helper(name: string): CredentialHelper {
    return new CredentialHelper(name, this.#helperOptions)
  }
}

/** The key of a host's credentials, in files and with helpers. */
function keyFor(host: string): string {
  return canonical(host) === 'docker.io' ? DEFAULT_REGISTRY_KEY : host
}

function canonical(host: string): string {
  const lower = host.toLowerCase()
  return DEFAULT_REGISTRY_HOSTS.includes(lower) ? 'docker.io' : lower
}

function helperName(host: string, { credHelpers, credsStore }: AuthFileContent): string | null {
  const own = Object.entries(credHelpers).find(([key]) => canonical(placeOf(key).host) === canonical(host))
  const name = own === undefined ? credsStore : own[1]
  return name === '' ? null : name
}

/** What a key stands for: a host, and in containers' files a namespace or a repository of it. */
function placeOf(key: string): { readonly host: string; readonly path: string } {
  const [, scheme, host = '', path = ''] = /^(https?:\/\/)?([^/]*)\/?(.*)$/.exec(key) ?? []
  // Docker's keys are URLs of its APIs, or were.
  const isApi = scheme !== undefined || /^v[12]\/?$/.test(path)
  return { host: canonical(host), path: isApi ? '' : path.replace(/\/+$/, '') }
}

function bestEntry({ auths }: AuthFileContent, host: string, repository: string): Credential | null {
  const fitting = Object.entries(auths)
    .map(([key, entry]) => ({ ...placeOf(key), entry }))
    .filter(({ host: at, path }) => at === canonical(host) && covers(path, repository))
    .sort((a, b) => b.path.length - a.path.length)
  for (const { entry } of fitting) {
    const credential = credentialOf(entry)
    if (credential !== null) return credential
  }
  return null
}

function covers(path: string, repository: string): boolean {
  return path === '' || path === repository || repository.startsWith(`${path}/`)
}

/** Debian's docker-registry on loopback with a storage of its own, for tests, benchmarks and whoever needs a real one. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AuthorityFiles } from './certificates.ts'
import type { TokenServer } from './token-server.ts'

/** How the registry is to be. */
export interface RegistryServerOptions {
  /** Its certificate and key; absent: plain HTTP. */
  readonly tls?: Pick<AuthorityFiles, 'certificatePath' | 'keyPath'> & { readonly clientAuthorityPath?: string }
  /** One user by basic authentication, or a token server; absent: anybody. */
  readonly auth?: { readonly username: string; readonly password: string } | TokenServer
  /** It is a pull-through cache of this URL. */
  readonly proxyOf?: string
  /** DELETE is allowed. */
  readonly allowsDelete?: boolean
}

/** A registry that runs. Disposing ends it and removes what it stored. */
export interface RegistryServer extends AsyncDisposable {
  /** `127.0.0.1:40123`, the domain of references to it. */
  readonly host: string
  readonly port: number
  /** Its storage, in the layout of distribution. */
  readonly storage: string
  /** What it has logged. */
  readonly log: () => string
}

const START_LIMIT_MS = 15_000
const PORT_ATTEMPTS = 5

/** Starts one and waits until it answers. */
export async function startRegistry(options: RegistryServerOptions = {}): Promise<RegistryServer> {
  for (let attempt = 1; ; attempt++) {
    const started = await tryStart(options)
    if (started !== null) return started
    // Somebody else has taken the port between our look and its start.
    if (attempt === PORT_ATTEMPTS) throw new Error('docker-registry finds no port')
  }
}

async function tryStart(options: RegistryServerOptions): Promise<RegistryServer | null> {
  const directory = mkdtempSync(join(tmpdir(), 'berth-registry-'))
  const port = await freePort()
  const host = `127.0.0.1:${port}`
  const storage = join(directory, 'storage')
  const logPath = join(directory, 'log')
  writeFileSync(join(directory, 'config.yml'), JSON.stringify(configOf(options, { directory, storage, host })))
  // It ends with who started it, also when that is killed.
  const command = ['setpriv', '--pdeathsig=KILL', 'docker-registry', 'serve', join(directory, 'config.yml')]
  const child = Bun.spawn(command, {
    stdin: 'ignore',
    stdout: Bun.file(logPath),
    stderr: Bun.file(logPath),
    env: { PATH: process.env['PATH'] ?? '', OTEL_TRACES_EXPORTER: 'none' },
  })
  const dispose = async (): Promise<void> => {
    child.kill('SIGKILL')
    await child.exited
    rmSync(directory, { recursive: true, force: true })
  }
  const log = (): string => readFileSync(logPath, 'utf8')
  if (await answers(`${options.tls === undefined ? 'http' : 'https'}://${host}/`, child))
    return { host, port, storage, log, [Symbol.asyncDispose]: dispose }
  const said = log()
  await dispose()
  if (said.includes('address already in use')) return null
  throw new Error(`docker-registry does not start: ${said.slice(-2000)}`)
}

/** Polls with a deadline: docker-registry says nowhere that it listens. */
async function answers(url: string, child: Bun.Subprocess): Promise<boolean> {
  const deadline = Date.now() + START_LIMIT_MS
  while (Date.now() < deadline && child.exitCode === null) {
    try {
      await (await fetch(url, { proxy: false, tls: { rejectUnauthorized: false } })).body?.cancel()
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED' && !/certificate/i.test(String(error))) return true
      await Bun.sleep(20)
    }
  }
  return false
}

interface Places {
  readonly directory: string
  readonly storage: string
  readonly host: string
}

// JSON is YAML.
function configOf(options: RegistryServerOptions, { directory, storage, host }: Places): unknown {
  const { tls, auth, proxyOf, allowsDelete = false } = options
  return {
    version: '0.1',
    log: { level: 'info', accesslog: { disabled: true } },
    storage: {
      filesystem: { rootdirectory: storage },
      delete: { enabled: allowsDelete },
    },
    http: {
      addr: host,
      secret: 'a secret of tests',
      ...(tls !== undefined && {
        tls: {
          certificate: tls.certificatePath,
          key: tls.keyPath,
          ...(tls.clientAuthorityPath !== undefined && { clientcas: [tls.clientAuthorityPath] }),
        },
      }),
    },
    ...(auth !== undefined && { auth: authOf(auth, directory) }),
    ...(proxyOf !== undefined && { proxy: { remoteurl: proxyOf } }),
  }
}

function authOf(auth: NonNullable<RegistryServerOptions['auth']>, directory: string): unknown {
  if ('realm' in auth) {
    const { realm, service, issuer, certificatePath } = auth
    return { token: { realm, service, issuer, rootcertbundle: certificatePath } }
  }
  const path = join(directory, 'htpasswd')
  // The cheapest that bcrypt allows: every request pays for it.
  const hash = Bun.password.hashSync(auth.password, { algorithm: 'bcrypt', cost: 4 })
  writeFileSync(path, `${auth.username}:${hash}\n`)
  return { htpasswd: { realm: 'test', path } }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

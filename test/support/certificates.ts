/** Certificate authorities for tests, made by openssl. */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A certificate with its key. */
export interface AuthorityFiles {
  readonly certificatePath: string
  readonly keyPath: string
}

/** An authority of its own, in a directory that disposing removes. */
export class TestAuthority implements Disposable, AuthorityFiles {
  readonly directory = mkdtempSync(join(tmpdir(), 'berth-authority-'))
  readonly certificatePath = join(this.directory, 'ca.pem')
  readonly keyPath = join(this.directory, 'ca.key')
  #serial = 0

  constructor() {
    this.#openssl(['-subj', '/CN=Test authority', '-addext', 'basicConstraints=critical,CA:TRUE'], this)
  }

  /** The certificate as text. */
  get certificate(): string {
    return readFileSync(this.certificatePath, 'utf8')
  }

  /** A certificate for a server with these names and addresses: `IP:127.0.0.1`, `DNS:registry.test`. */
  server(names: readonly string[] = ['IP:127.0.0.1', 'DNS:localhost']): AuthorityFiles {
    return this.#issue(['-subj', '/CN=Server', '-addext', `subjectAltName=${names.join(',')}`])
  }

  /** A certificate for a client of this name. */
  client(name: string): AuthorityFiles {
    return this.#issue(['-subj', `/CN=${name}`, '-addext', 'extendedKeyUsage=clientAuth'])
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true })
  }

  #issue(args: readonly string[]): AuthorityFiles {
    const name = `issued-${++this.#serial}`
    const files = { certificatePath: join(this.directory, `${name}.pem`), keyPath: join(this.directory, `${name}.key`) }
    const authority = ['-CA', this.certificatePath, '-CAkey', this.keyPath, '-addext', 'basicConstraints=CA:FALSE']
    this.#openssl([...authority, ...args], files)
    return files
  }

  #openssl(args: readonly string[], { certificatePath, keyPath }: AuthorityFiles): void {
    // Debian's configuration adds extensions of its own, which openssl 3.0 then has twice.
    const config = join(this.directory, 'openssl.cnf')
    writeFileSync(config, '[req]\ndistinguished_name = name\n[name]\n')
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyPath]
    const command = ['req', '-x509', '-config', config, '-days', '2', ...key, '-out', certificatePath, ...args]
    const { status, stderr } = spawnSync('openssl', command, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`openssl ${command.join(' ')}: ${stderr}`)
  }
}

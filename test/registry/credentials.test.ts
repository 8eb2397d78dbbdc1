/** `berth pull` and `berth push` with what `berth login` has kept, at registries that ask for it. */
import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dockerArchive, layerOf } from '../listing/store-box.ts'
import { TestAuthority } from '../support/certificates.ts'
import { type RegistryServer, startRegistry } from '../support/registry.ts'
import { testIf } from '../support/requirement.ts'
import { BERTH_COMMAND } from '../support/runtime-under-test.ts'
import { startTokenServer } from '../support/token-server.ts'

const registryTest = testIf('root', 'command docker-registry', 'command openssl')
const account = { username: 'alice', password: 'correct horse' }
const LIMIT_MS = 60_000

/** A home and a store of its own, with an image. */
class Home implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'berth-credentials-'))

  async berth(args: readonly string[], input: string | Uint8Array = '') {
    const isStored = !['login', 'logout'].includes(args[0] ?? '')
    const roots = isStored ? ['--root', join(this.path, 'data'), '--run-root', join(this.path, 'run')] : []
    const child = Bun.spawn([...BERTH_COMMAND, ...roots, ...args], {
      stdin: Buffer.from(input),
      stdout: 'pipe',
      stderr: 'pipe',
      env: { HOME: this.path, PATH: `${join(this.path, 'programs')}:/usr/sbin:/usr/bin:/bin` },
    })
    const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
    return { status: await child.exited, stdout, stderr }
  }

  async load(name: string): Promise<void> {
    const loaded = await this.berth(['load'], dockerArchive({ layers: [layerOf('file')], tags: [name] }))
    expect(loaded).toMatchObject({ status: 0, stderr: '' })
  }

  config(value: unknown): void {
    mkdirSync(join(this.path, '.docker'), { recursive: true })
    writeFileSync(join(this.path, '.docker/config.json'), JSON.stringify(value))
  }

  /** What pull and push do at a registry, with what is in the configuration; one line of error each when it is not enough. */
  async exchange(name: string) {
    const push = await this.berth(['push', '-q', name])
    if (push.status !== 0) return push
    await this.berth(['rmi', name])
    return await this.berth(['pull', '-q', name])
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true })
  }
}

describe.each(['basic', 'token'] as const)('a registry with %s authentication', kind => {
  let registry: RegistryServer
  const opened = new AsyncDisposableStack()
  beforeAll(async () => {
    const authority = opened.use(new TestAuthority())
    const auth = kind === 'basic' ? account : opened.use(startTokenServer({ authority, accounts: [account] }))
    registry = opened.use(await startRegistry({ auth }))
  }, LIMIT_MS)
  afterAll(async () => {
    await opened.disposeAsync()
  })

  registryTest('takes and gives after a login, and no more after a logout', async () => {
    using home = new Home()
    const name = `${registry.host}/team/app:1`
    await home.load(name)
    const login = ['login', registry.host, '-u', 'alice', '--password-stdin']
    expect(await home.berth(login, account.password)).toMatchObject({ status: 0, stdout: 'Login Succeeded\n' })
    expect(await home.exchange(name)).toEqual({ status: 0, stdout: `${name}\n`, stderr: '' })
    expect((await home.berth(['logout', registry.host])).status).toBe(0)
    const { status, stderr } = await home.berth(['pull', '-q', name])
    expect(status).toBe(125)
    expect(stderr).toMatch(/^berth: Cannot .*401.* "berth login 127.*\n$/)
  })

  registryTest('refuses a wrong password with one line that says so', async () => {
    using home = new Home()
    const name = `${registry.host}/team/other:1`
    await home.load(name)
    home.config({ auths: { [registry.host]: { auth: Buffer.from('alice:wrong').toString('base64') } } })
    const { status, stderr } = await home.exchange(name)
    expect(status).toBe(125)
    expect(stderr).toMatch(/^berth: Cannot .*may not do this, or its password has changed; see "berth login 127.*\n$/)
  })

  registryTest('takes what a credential helper says', async () => {
    using home = new Home()
    const name = `${registry.host}/team/helped:1`
    await home.load(name)
    mkdirSync(join(home.path, 'programs'))
    const answer = JSON.stringify({ ServerURL: registry.host, Username: account.username, Secret: account.password })
    const script = `#!/bin/sh\nread server\necho "$1 $server" >> "$HOME/asked"\necho '${answer}'\n`
    writeFileSync(join(home.path, 'programs/docker-credential-kept'), script, { mode: 0o755 })
    home.config({ credHelpers: { [registry.host]: 'kept' } })
    expect(await home.exchange(name)).toEqual({ status: 0, stdout: `${name}\n`, stderr: '' })
    expect((await Bun.file(join(home.path, 'asked')).text()).split('\n')[0]).toBe(`get ${registry.host}`)
  })
})

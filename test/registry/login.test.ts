/** `berth login` and `berth logout`, as a person and a script use them. */
import { describe, expect } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TestAuthority } from '../support/certificates.ts'
import { startRegistry } from '../support/registry.ts'
import { testIf } from '../support/requirement.ts'
import { BERTH_COMMAND } from '../support/runtime-under-test.ts'
import { startScriptedRegistry } from '../support/scripted-registry.ts'
import { startTokenServer } from '../support/token-server.ts'

const registryTest = testIf('command docker-registry', 'command openssl')
const account = { username: 'alice', password: 'correct horse' }
const auth = Buffer.from(`${account.username}:${account.password}`).toString('base64')

/** A home of its own. */
class Home implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'berth-login-'))
  readonly config = join(this.path, '.docker/config.json')
  readonly environment = { HOME: this.path, PATH: `${join(this.path, 'programs')}:/usr/bin:/bin` }

  async run(args: readonly string[], input = '') {
    const child = Bun.spawn([...BERTH_COMMAND, ...args], {
      stdin: new TextEncoder().encode(input),
      stdout: 'pipe',
      stderr: 'pipe',
      env: this.environment,
    })
    const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
    return { status: await child.exited, stdout, stderr }
  }

  get auths(): unknown {
    return JSON.parse(readFileSync(this.config, 'utf8')).auths
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true })
  }
}

describe('berth login', () => {
  registryTest('keeps what the registry takes, in clear with a warning, and logout forgets it', async () => {
    await using registry = await startRegistry({ auth: account })
    using home = new Home()
    const login = ['login', registry.host, '--username', 'alice', '--password-stdin']
    expect(await home.run(login, 'correct horse\n')).toEqual({
      status: 0,
      stdout: 'Login Succeeded\n',
      stderr: `WARNING! Your password will be stored unencrypted in ${home.config}.\nConfigure a credential helper to remove this warning.\n`,
    })
    expect(home.auths).toEqual({ [registry.host]: { auth } })
    expect(statSync(home.config).mode & 0o777).toBe(0o600)
    expect(await home.run(['logout', registry.host])).toEqual({
      status: 0,
      stdout: `Removing login credentials for ${registry.host}\n`,
      stderr: '',
    })
    expect(home.auths).toEqual({})
    expect((await home.run(['logout', registry.host])).stdout).toBe(`Not logged in to ${registry.host}\n`)
  })

  registryTest('keeps nothing that the registry refuses', async () => {
    await using registry = await startRegistry({ auth: account })
    using home = new Home()
    const wrong = await home.run(['login', registry.host, '-u', 'alice', '-p', 'wrong horse'])
    expect(wrong.status).toBe(1)
    expect(wrong.stderr).toBe(
      `WARNING! Using --password via the CLI is insecure. Use --password-stdin.\nberth: Cannot log in to "${registry.host}": GET http://${registry.host}/v2/ gave 401 (UNAUTHORIZED: authentication required); the user name or the password is wrong\n`,
    )
    expect(existsSync(home.config)).toBe(false)
  })

  registryTest('keeps the identity token of a token server, not the password', async () => {
    using authority = new TestAuthority()
    const accounts = [{ ...account, identityToken: 'identity-of-alice' }]
    await using tokens = startTokenServer({ authority, accounts })
    await using registry = await startRegistry({ auth: tokens })
    using home = new Home()
    const { status } = await home.run(['login', registry.host, '-u', 'alice', '--password-stdin'], 'correct horse')
    expect(status).toBe(0)
    expect(home.auths).toEqual({ [registry.host]: { auth: '', identitytoken: 'identity-of-alice' } })
    expect(tokens.requests[0]).toMatchObject({ account: 'alice', parameters: { offline_token: 'true' } })
    const wrong = await home.run(['login', registry.host, '-u', 'alice', '--password-stdin'], 'wrong')
    expect(wrong.stderr).toContain(`Cannot get a token for ${registry.host}: GET ${tokens.realm}?… gave 401`)
  })

  registryTest('knows a mirror by the hosts file of the registry that it serves', async () => {
    using authority = new TestAuthority()
    await using mirror = await startRegistry({ tls: authority.server(), auth: account })
    using home = new Home()
    const registries = join(home.path, 'registries')
    mkdirSync(join(registries, 'registry.test'), { recursive: true })
    const text = `[host."https://${mirror.host}"]\nca = "${authority.certificatePath}"\n`
    writeFileSync(join(registries, 'registry.test/hosts.toml'), text)
    const login = [
      'login',
      `https://${mirror.host}/v2/`,
      '-u',
      'alice',
      '--password-stdin',
      '--registries-dir',
      registries,
    ]
    expect(await home.run(login, 'correct horse')).toMatchObject({ status: 0, stdout: 'Login Succeeded\n' })
    expect(home.auths).toEqual({ [mirror.host]: { auth } })
  })

  registryTest('hands it to the helper of the configuration', async () => {
    await using registry = await startRegistry({ auth: account })
    using home = new Home()
    mkdirSync(join(home.path, 'programs'))
    mkdirSync(join(home.path, '.docker'))
    writeFileSync(home.config, '{"credsStore":"kept"}')
    const helper = join(home.path, 'programs/docker-credential-kept')
    writeFileSync(helper, '#!/bin/sh\ncat > "$HOME/$1"\n', { mode: 0o755 })
    const { status, stderr } = await home.run(
      ['login', registry.host, '-u', 'alice', '--password-stdin'],
      'correct horse',
    )
    expect([status, stderr]).toEqual([0, ''])
    expect(JSON.parse(readFileSync(join(home.path, 'store'), 'utf8'))).toEqual({
      ServerURL: registry.host,
      Username: 'alice',
      Secret: 'correct horse',
    })
    expect(readFileSync(home.config, 'utf8')).toBe('{"credsStore":"kept"}')
  })

  registryTest('asks at the terminal, and does not show the password', async () => {
    await using registry = await startRegistry({ auth: account })
    using home = new Home()
    let screen = ''
    const shows = (text: string): Promise<void> => {
      const seen = Promise.withResolvers<void>()
      watch = () => void (screen.includes(text) && seen.resolve())
      watch()
      return seen.promise
    }
    let watch = (): void => undefined
    const data = (_: unknown, bytes: Uint8Array): void => {
      screen += new TextDecoder().decode(bytes)
      watch()
    }
    const child = Bun.spawn([...BERTH_COMMAND, 'login', registry.host], { env: home.environment, terminal: { data } })
    await shows('Username: ')
    child.terminal?.write('alice\r')
    await shows('Password: ')
    child.terminal?.write('correct horse\r')
    expect(await child.exited).toBe(0)
    await shows('Login Succeeded')
    child.terminal?.close()
    expect(screen).toContain('alice')
    expect(screen).not.toContain('horse')
    expect(home.auths).toEqual({ [registry.host]: { auth } })
  })

  registryTest('without a terminal asks for options', async () => {
    using home = new Home()
    const ask = async (...args: readonly string[]) => (await home.run(['login', ...args])).stderr
    expect(await ask('registry.test')).toContain('Cannot perform an interactive login from a non TTY device')
    expect(await ask('--password-stdin')).toContain('Must provide --username with --password-stdin')
    expect(await ask('-u', 'a', '-p', 'b', '--password-stdin')).toContain('are mutually exclusive')
    expect(await ask('registry.test', 'other.test')).toContain('more than one registry given')
    expect(await ask('registry.test/team', '-u', 'a', '-p', 'b')).toContain('it is no host with a port or without')
    expect(await ask('registry.test', '-u', 'a:b', '-p', 'b')).toContain('a user name without ":" is required')
    expect(await home.run(['login', '-u', 'a', '--password-stdin', 'registry.test'])).toMatchObject({ status: 1 })
  })

  registryTest('is ended by a signal while it waits for the registry', async () => {
    const asked = Promise.withResolvers<void>()
    await using registry = startScriptedRegistry(() => {
      asked.resolve()
      return new Promise(() => undefined)
    })
    using home = new Home()
    const child = Bun.spawn([...BERTH_COMMAND, 'login', registry.host, '-u', 'a', '-p', 'b'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: home.environment,
    })
    await asked.promise
    child.kill('SIGINT')
    expect(await child.exited).toBe(130)
    expect(await new Response(child.stderr).text()).not.toContain('berth:')
    expect(existsSync(home.config)).toBe(false)
  })
})

import { describe, expect, test } from 'bun:test'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Credential } from './credentials.ts'
import { StoredCredentials } from './stored-credentials.ts'

const alice: Credential = { kind: 'password', username: 'alice', password: 'pass:word' }
const auth = Buffer.from('alice:pass:word').toString('base64')

/** A home directory with files and helpers. */
class Home implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'berth-home-'))
  readonly config = join(this.path, '.docker/config.json')
  readonly authFile = join(this.path, 'auth.json')
  readonly programs = join(this.path, 'programs')

  constructor(config?: unknown, authFile?: unknown) {
    mkdirSync(this.programs)
    if (config !== undefined) {
      mkdirSync(join(this.path, '.docker'))
      writeFileSync(this.config, typeof config === 'string' ? config : JSON.stringify(config))
    }
    if (authFile !== undefined) writeFileSync(this.authFile, JSON.stringify(authFile))
  }

  /** A helper that runs this script; it sees its verb as $1. */
  helper(name: string, script: string): void {
    const path = join(this.programs, `docker-credential-${name}`)
    writeFileSync(path, `#!/bin/sh\ncd ${this.path}\n${script}\n`)
    chmodSync(path, 0o755)
  }

  credentials(limitMs = 10_000): StoredCredentials {
    const environment = { PATH: `.:${this.programs}:/usr/bin:/bin` }
    return new StoredCredentials([this.authFile, this.config], { environment, limitMs })
  }

  read(path = this.config): unknown {
    return JSON.parse(readFileSync(path, 'utf8'))
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true })
  }
}

describe('find()', () => {
  test.each([
    ['registry.test:5000', 'registry.test:5000', ''],
    ['https://registry.test:5000', 'registry.test:5000', ''],
    ['http://registry.test:5000/v1/', 'registry.test:5000', ''],
    ['registry.test:5000/v2/', 'registry.test:5000', ''],
    ['Registry.Test:5000', 'registry.test:5000', ''],
    ['https://index.docker.io/v1/', 'docker.io', 'library/debian'],
    ['docker.io', 'docker.io', 'library/debian'],
    ['registry.test/team', 'registry.test', 'team/app'],
    ['registry.test/team/app', 'registry.test', 'team/app'],
  ])('takes the entry %j for %s and %j', async (key, host, repository) => {
    using home = new Home({ auths: { [key]: { auth } } })
    expect(await home.credentials().find(host, repository)).toEqual(alice)
  })

  test.each([
    ['registry.test', 'registry.test:5000', ''],
    ['registry.test/team', 'registry.test', 'teams/app'],
    ['registry.test/team', 'registry.test', ''],
    ['test', 'registry.test', ''],
  ])('does not take the entry %j for %s and %j', async (key, host, repository) => {
    using home = new Home({ auths: { [key]: { auth } } })
    expect(await home.credentials().find(host, repository)).toBeNull()
  })

  test('prefers the entry that says most, and the first file', async () => {
    const entry = (name: string) => ({ auth: Buffer.from(`${name}:x`).toString('base64') })
    using home = new Home(
      { auths: { 'registry.test': entry('config'), 'other.test': entry('other') } },
      { auths: { 'registry.test': entry('host'), 'registry.test/team': entry('team') } },
    )
    const found = async (host: string, repository: string) => await home.credentials().find(host, repository)
    expect(await found('registry.test', 'team/app')).toMatchObject({ username: 'team' })
    expect(await found('registry.test', 'app')).toMatchObject({ username: 'host' })
    expect(await found('other.test', 'app')).toMatchObject({ username: 'other' })
  })

  test('takes identity tokens, and names and passwords in clear', async () => {
    using home = new Home({
      auths: {
        'a.test': { auth: '', identitytoken: 'token' },
        'b.test': { username: 'bob', password: 'x' },
        'c.test': {},
      },
    })
    expect(await home.credentials().find('a.test', '')).toEqual({ kind: 'identityToken', token: 'token' })
    expect(await home.credentials().find('b.test', '')).toEqual({ kind: 'password', username: 'bob', password: 'x' })
    expect(await home.credentials().find('c.test', '')).toBeNull()
  })

  test('does not quote a damaged entry', async () => {
    using home = new Home({ auths: { 'a.test': { auth: ['secret'] } } })
    await expect(home.credentials().find('a.test', '')).rejects.toThrow('auths has an entry of another form')
    using text = new Home('{"auths": {')
    await expect(text.credentials().find('a.test', '')).rejects.toThrow('expected JSON')
  })
})

describe('a credential helper', () => {
  const answer = `'{"ServerURL":"x","Username":"alice","Secret":"pass:word"}'`

  test('is asked for its host, and the general one for the others', async () => {
    using home = new Home({ credsStore: 'general', credHelpers: { 'own.test': 'own' } })
    home.helper('general', `cat > general; echo ${answer}`)
    home.helper('own', `cat > own; echo '{"Username":"<token>","Secret":"identity"}'`)
    const credentials = home.credentials()
    expect(await credentials.find('a.test', '')).toEqual(alice)
    expect(await credentials.find('own.test', '')).toEqual({ kind: 'identityToken', token: 'identity' })
    expect(readFileSync(join(home.path, 'general'), 'utf8')).toBe('a.test')
    expect(await credentials.find('docker.io', '')).toEqual(alice)
    expect(readFileSync(join(home.path, 'general'), 'utf8')).toBe('https://index.docker.io/v1/')
  })

  test('that has nothing leaves it to the entries', async () => {
    using home = new Home({ credsStore: 'none', auths: { 'a.test': { auth } } })
    home.helper('none', 'echo "credentials not found in native keychain"; exit 1')
    expect(await home.credentials().find('a.test', '')).toEqual(alice)
    expect(await home.credentials().find('b.test', '')).toBeNull()
  })

  test.each(['../evil', 'a/b', '-x', '', 'a b', 'a;b'])('of the name %j is not run', async name => {
    using home = new Home({ credHelpers: { 'a.test': name } })
    const work = home.credentials().find('a.test', '')
    if (name === '') expect(await work).toBeNull()
    else await expect(work).rejects.toThrow('it is no name of a program')
  })

  test('is not taken from the working directory', async () => {
    using home = new Home({ credsStore: 'here' })
    home.helper('here', `echo ${answer}`)
    const options = { environment: { PATH: '.:programs:' } }
    const before = process.cwd()
    process.chdir(home.path)
    try {
      await expect(new StoredCredentials([home.config], options).find('a.test', '')).rejects.toThrow(
        'no directory of PATH',
      )
    } finally {
      process.chdir(before)
    }
  })

  test.each([
    ['exec sleep 60', 'it did not end within 0.2 seconds'],
    ['exec cat /dev/zero', 'it printed more than 65536 bytes'],
    ['echo "key ring is locked"; exit 1', 'exit status 1: key ring is locked'],
    ['echo \'{"Secret":"pass:word"}\'; exit 1', 'exit status 1'],
    ['echo "pass:word"', 'its answer is not the JSON of a credential'],
  ])('that does %j fails without showing a secret', async (script, message) => {
    using home = new Home({ credsStore: 'bad' })
    home.helper('bad', script)
    const error = await home
      .credentials(200)
      .find('a.test', '')
      .then(
        () => null,
        (thrown: Error) => thrown,
      )
    expect(error?.message).toContain(message)
    expect(error?.message).not.toContain('pass:word')
  })

  test('keeps and forgets what a login gives, and an entry of before goes', async () => {
    using home = new Home(undefined, { credsStore: 'general', auths: { 'a.test': { auth } } })
    home.helper(
      'general',
      `case $1 in get) cat stored || { echo "credentials not found in native keychain"; exit 1; };; store) cat > stored;; erase) rm stored;; esac`,
    )
    const credentials = home.credentials()
    expect(await credentials.store('a.test', alice)).toEqual({ place: 'general', isClear: false })
    expect(home.read(home.authFile)).toEqual({ credsStore: 'general', auths: {} })
    expect(await credentials.find('a.test', '')).toEqual(alice)
    expect(await credentials.erase('a.test')).toBe(true)
    expect(await credentials.find('a.test', '')).toBeNull()
    expect(await credentials.erase('a.test')).toBe(false)
  })
})

describe('store() without a helper', () => {
  test('makes a file for its owner alone', async () => {
    using home = new Home()
    const credentials = new StoredCredentials([home.config], { environment: {} })
    expect(await credentials.store('a.test', alice)).toEqual({ place: home.config, isClear: true })
    expect(home.read()).toEqual({ auths: { 'a.test': { auth } } })
    expect(statSync(home.config).mode & 0o777).toBe(0o600)
    expect(statSync(join(home.path, '.docker')).mode & 0o777).toBe(0o700)
    expect(await credentials.find('a.test', '')).toEqual(alice)
  })

  test('keeps all that others have written, and a link', async () => {
    const others = {
      HttpHeaders: { 'X-A': 'b' },
      auths: { 'b.test': { auth: 'x', email: 'e' } },
      detachKeys: 'ctrl-e,e',
    }
    using home = new Home(others)
    const target = join(home.path, 'dotfiles.json')
    writeFileSync(target, JSON.stringify(others))
    chmodSync(target, 0o644)
    rmSync(home.config)
    symlinkSync(target, home.config)
    const credentials = new StoredCredentials([home.config], { environment: {} })
    await credentials.store('docker.io', { kind: 'identityToken', token: 'token' })
    const added = { 'https://index.docker.io/v1/': { auth: '', identitytoken: 'token' } }
    expect(home.read(target)).toEqual({ ...others, auths: { ...others.auths, ...added } })
    expect(statSync(target).mode & 0o777).toBe(0o600)
    expect(await credentials.erase('docker.io')).toBe(true)
    expect(home.read(target)).toEqual(others)
  })
})

// The policy where images are used: at run, at load, and what is remembered of a pull.

import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect } from 'bun:test'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { testIf } from '../support/requirement.ts'
import { attach, attachment, cosignPayload, type Ended, gpgPayload, sigstoreKey, TrustScene } from './trust-scene.ts'

const test = testIf('root', 'command skopeo', 'command gpg', 'command docker-registry', 'overlay')
let scene: TrustScene
let alice = ''

beforeAll(async () => {
  scene = await TrustScene.start()
  alice = scene.gpgKey('alice')
}, 60_000)

afterAll(async () => await scene[Symbol.asyncDispose]())

const accept = { type: 'insecureAcceptAnything' }
const reject = { type: 'reject' }
const signedBy = (name = 'alice', more = {}) => ({
  type: 'signedBy',
  keyType: 'GPGKeys',
  keyPath: scene.path(`${name}.gpg`),
  ...more,
})

/** `berth --policy P ARGS`. */
function under(policy: unknown, ...args: readonly string[]): Ended {
  return scene.berth('--policy', scene.file('policy.json', JSON.stringify(policy)), ...args)
}

/** How far a container of an image comes: its program, which is not there, or the policy. */
function ran(policy: unknown, name: string): string {
  const { status, stderr } = under(policy, 'run', '--rm', '--pull=never', name, '/not-there')
  if (status === 127) return 'let through'
  return status === 125 && stderr.includes('trust policy') ? `refused: ${stderr}` : `${status}: ${stderr}`
}

const only = (...requirements: readonly unknown[]) => ({ default: requirements })

describe('an image of the store', () => {
  test('that a changed policy refuses does not run any more, and the error says why', () => {
    const name = scene.name('use/changed:1')
    scene.upload('use/changed:1')
    expect(under(only(accept), 'pull', name).status).toBe(0)
    expect(ran(only(accept), name)).toBe('let through')
    const policy = { default: [accept], transports: { docker: { [scene.name('use')]: [reject] } } }
    const said = ran(policy, name)
    expect(said).toContain(`Cannot run image "${name}": trust policy "${scene.path('policy.json')}"`)
    expect(said).toContain(`scope "docker: ${scene.name('use')}", requires reject, and it rejects every image`)
  })

  test('is judged again by the signatures that came with it, without the registry', async () => {
    const name = scene.name('use/offline:1')
    scene.upload('use/offline:1', '--sign-by', alice)
    const bob = scene.gpgKey('bob')
    expect(bob).not.toBe(alice)
    expect(under(only(signedBy()), 'pull', name).status).toBe(0)
    renameSync(scene.path('lookaside'), scene.path('gone'))
    try {
      expect(ran(only(signedBy()), name)).toBe('let through')
      expect(ran(only(signedBy(), accept), name)).toBe('let through')
      expect(ran(only(signedBy('bob')), name)).toContain('its key is none of those that the policy accepts')
    } finally {
      renameSync(scene.path('gone'), scene.path('lookaside'))
    }
  })

  test('of sigstore is judged again too', async () => {
    const name = scene.name('use/cosigned:1')
    const digest = scene.upload('use/cosigned:1')
    const key = sigstoreKey(scene, 'cosign')
    await attach(scene, 'use/cosigned:1', digest, [attachment(cosignPayload(name, digest), key)])
    const sigstore = (identity: string) => ({
      ...{ type: 'sigstoreSigned', keyPath: scene.path('cosign.pub') },
      signedIdentity: { type: identity },
    })
    expect(under(only(sigstore('matchExact')), 'pull', name).status).toBe(0)
    expect(ran(only(sigstore('matchRepository')), name)).toBe('let through')
    sigstoreKey(scene, 'cosign')
    expect(ran(only(sigstore('matchRepository')), name)).toContain('none of the keys')
  })

  test('costs no second look at its signatures as long as the policy and its keys stay', () => {
    const name = scene.name('use/remembered:1')
    scene.upload('use/remembered:1', '--sign-by', alice)
    expect(under(only(signedBy()), 'pull', name).status).toBe(0)
    const database = new Database(scene.path('data/state.db'))
    // What was decided stands without its grounds; with other keys it does not.
    database.run('DELETE FROM image_signature')
    expect(ran(only(signedBy()), name)).toBe('let through')
    database.run('UPDATE image_trust SET decided_ms = decided_ms - 100000000')
    expect(ran(only(signedBy()), name)).toContain('no OpenPGP signature of it was found')
    database.close()
  })

  test('that was pulled when nothing was asked for has no signatures, and the error says what to do', () => {
    const name = scene.name('use/lax:1')
    scene.upload('use/lax:1', '--sign-by', alice)
    expect(under(only(accept), 'pull', name).status).toBe(0)
    expect(ran(only(signedBy()), name)).toContain('see "berth pull" to fetch its signatures')
    expect(under(only(signedBy()), 'pull', name).status).toBe(0)
    expect(ran(only(signedBy()), name)).toBe('let through')
  })

  test('is judged by where it came from under the name that is run', () => {
    const [good, bad] = [scene.name('use/good:1'), scene.name('use/bad:1')]
    scene.upload('use/good:1')
    scene.ok(
      'skopeo',
      '--insecure-policy',
      'copy',
      '--src-tls-verify=false',
      '--dest-tls-verify=false',
      `docker://${good}`,
      `docker://${bad}`,
    )
    for (const name of [good, bad]) expect(under(only(accept), 'pull', name).status).toBe(0)
    const policy = { default: [reject], transports: { docker: { [scene.name('use/good')]: [accept] } } }
    expect(ran(policy, good)).toBe('let through')
    expect(ran(policy, bad)).toContain('refused')
    expect(under(only(accept), 'image', 'tag', good, 'mine:1').status).toBe(0)
    expect(ran(policy, 'mine:1')).toBe('let through')
    expect(under(only(accept), 'rmi', good).status).toBe(0)
    // By a name that came from nowhere, the image is what was pulled as good still.
    expect(ran(policy, 'mine:1')).toBe('let through')
  })

  test('that was made here is of the transport containers-storage', () => {
    expect(scene.command('tar', '-cf', scene.path('empty.tar'), '-T', '/dev/null').status).toBe(0)
    expect(under(only(reject), 'import', scene.path('empty.tar'), 'made:1').status).toBe(0)
    expect(ran(only(reject), 'made:1')).toContain('scope "default", requires reject')
    expect(ran({ default: [reject], transports: { 'containers-storage': { '': [accept] } } }, 'made:1')).toBe(
      'let through',
    )
  })
})

describe('an index', () => {
  test('whose signature is its own vouches for the platform that it names', () => {
    const digest = uploadIndex('use/index:1')
    const name = scene.name('use/index:1')
    expect(under(only(signedBy()), 'pull', name).stderr).toContain('no OpenPGP signature of it was found')
    scene.putGpgSignature('use/index:1', digest, 1, gpgPayload(name, digest), alice)
    expect(under(only(signedBy()), 'pull', name)).toMatchObject({ status: 0, stderr: '' })
    expect(ran(only(signedBy()), name)).toBe('let through')
  })

  function uploadIndex(name: string): string {
    scene.upload('use/part:1')
    const raw = scene.ok('skopeo', 'inspect', '--raw', '--tls-verify=false', `docker://${scene.name('use/part:1')}`)
    const layout = scene.path('index-layout')
    rmSync(layout, { recursive: true, force: true })
    scene.ok(
      'skopeo',
      '--insecure-policy',
      'copy',
      '--src-tls-verify=false',
      `docker://${scene.name('use/part:1')}`,
      `oci:${layout}:1`,
    )
    const digest = `sha256:${new Bun.CryptoHasher('sha256').update(raw).digest('hex')}`
    const index = JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        {
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          digest,
          size: raw.length,
          platform: { os: 'linux', architecture: 'amd64' },
        },
      ],
    })
    const own = `sha256:${new Bun.CryptoHasher('sha256').update(index).digest('hex')}`
    writeFileSync(join(layout, 'blobs', own.replace(':', '/')), index)
    writeFileSync(
      join(layout, 'index.json'),
      JSON.stringify({
        schemaVersion: 2,
        manifests: [
          {
            mediaType: 'application/vnd.oci.image.index.v1+json',
            digest: own,
            size: index.length,
            annotations: { 'org.opencontainers.image.ref.name': '1' },
          },
        ],
      }),
    )
    scene.ok(
      'skopeo',
      '--insecure-policy',
      'copy',
      '--all',
      '--dest-tls-verify=false',
      `oci:${layout}:1`,
      `docker://${scene.name(name)}`,
    )
    return own
  }
})

describe('an OpenPGP key', () => {
  const verdict = (policy: unknown, name: string): string => under(policy, 'pull', scene.name(name)).stderr

  test('that has expired signs nothing', () => {
    const name = 'use/expired:1'
    const digest = scene.upload(name)
    const brief = scene.gpgKey('brief', '1d')
    scene.putGpgSignature(name, digest, 1, gpgPayload(scene.name(name), digest), brief)
    expect(verdict(only(signedBy('brief')), name)).toBe('')
    const old = scene.command(
      'gpg',
      '--batch',
      '--faked-system-time',
      '20200101T000000',
      '--passphrase',
      '',
      '--quick-gen-key',
      'old',
      'ed25519',
      'sign',
      '1d',
    )
    expect(old.status).toBe(0)
    const fingerprint = /^fpr:+([0-9A-F]{40}):/m.exec(scene.ok('gpg', '--with-colons', '--list-keys', 'old'))?.[1] ?? ''
    scene.ok('gpg', '--output', scene.path('old.gpg'), '--export', fingerprint)
    const signature = scene.path('lookaside', `use/expired@${digest.replace(':', '=')}`, 'signature-1')
    rmSync(signature)
    scene.ok(
      'gpg',
      '--batch',
      '--faked-system-time',
      '20200101T010000',
      '--local-user',
      fingerprint,
      '--output',
      signature,
      '--sign',
      scene.file('payload', gpgPayload(scene.name(name), digest)),
    )
    expect(verdict(only(signedBy('old')), name)).toContain('its key has expired')
  })

  test('that was revoked signs nothing', () => {
    const name = 'use/revoked:1'
    const fingerprint = scene.gpgKey('revoked')
    scene.upload(name, '--sign-by', fingerprint)
    expect(verdict(only(signedBy('revoked')), name)).toBe('')
    const certificate = readFileSync(scene.path('gnupg/openpgp-revocs.d', `${fingerprint}.rev`), 'utf8').replace(
      ':-----',
      '-----',
    )
    scene.ok('gpg', '--batch', '--import', scene.file('revocation', certificate))
    scene.ok('gpg', '--yes', '--output', scene.path('revoked.gpg'), '--export', fingerprint)
    expect(verdict(only(signedBy('revoked')), name)).toContain('its key was revoked')
  })

  test('does not sign what holds two signatures, is no message, or is a signature alone', () => {
    const name = 'use/odd:1'
    const digest = scene.upload(name)
    const payload = scene.file('payload', gpgPayload(scene.name(name), digest))
    const directory = scene.path('lookaside', `use/odd@${digest.replace(':', '=')}`)
    mkdirSync(directory, { recursive: true })
    const signature = join(directory, 'signature-1')
    const forms: readonly (readonly string[])[] = [
      ['--local-user', alice, '--local-user', scene.gpgKey('carol'), '--sign', payload],
      ['--local-user', alice, '--detach-sign', payload],
      ['--local-user', alice, '--textmode', '--sign', payload],
      ['--store', payload],
    ]
    const keys = { keyPath: undefined, keyPaths: [scene.path('alice.gpg'), scene.path('carol.gpg')] }
    for (const form of forms) {
      scene.ok('gpg', '--batch', '--yes', '--output', signature, ...form)
      expect({ form, stderr: verdict(only(signedBy('alice', keys)), name) }).toEqual({
        form,
        stderr: expect.stringContaining('a signature is not accepted') as unknown as string,
      })
    }
    writeFileSync(signature, 'no message')
    expect(verdict(only(signedBy()), name)).toContain('it is no OpenPGP signature')
    scene.ok('gpg', '--batch', '--yes', '--output', signature, '--local-user', alice, '--sign', payload)
    expect(verdict(only(signedBy('alice', keys)), name)).toBe('')
  })

  test('leaves no key store behind, and what a killed verification left goes with the next', () => {
    const leftover = mkdtempSync(join(tmpdir(), 'berth-gpg-'))
    utimesSync(leftover, 1, 1)
    const stores = (): readonly string[] => readdirSync(tmpdir()).filter(each => each.startsWith('berth-gpg-'))
    const before = stores()
    scene.upload('use/clean:1', '--sign-by', alice)
    expect(verdict(only(signedBy()), 'use/clean:1')).toBe('')
    expect(stores().filter(each => !before.includes(each))).toEqual([])
    expect(existsSync(leftover)).toBe(false)
  })
})

describe('a place of signatures', () => {
  test('by HTTP is read until a signature is not there; one that fails is no place without signatures', async () => {
    const name = 'http/app:1'
    scene.upload(name, '--sign-by', alice)
    let status = 200
    const asked: string[] = []
    const server = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: request => {
        const { pathname } = new URL(request.url)
        asked.push(pathname)
        const file = Bun.file(scene.path('lookaside', pathname.replace('/tree/', '')))
        return status === 200
          ? file.exists().then(is => new Response(is ? file : null, { status: is ? 200 : 404 }))
          : new Response('', { status })
      },
    })
    scene.file(
      '.config/containers/registries.d/http.yaml',
      `docker:\n  ${scene.name('http')}:\n    lookaside: ${server.url.href}tree/\n`,
    )
    const pull = async (): Promise<string> => {
      const policy = scene.file('policy.json', JSON.stringify(only(signedBy())))
      const child = Bun.spawn([...scene.berthCommand, '--policy', policy, 'pull', scene.name(name)], {
        env: scene.environment,
        stdout: 'ignore',
        stderr: 'pipe',
      })
      const said = await new Response(child.stderr).text()
      await child.exited
      return said
    }
    expect(await pull()).toBe('')
    expect(asked.map(each => each.split('/').at(-1))).toEqual(['signature-1', 'signature-2'])
    status = 500
    expect(await pull()).toContain('Cannot fetch signature')
    rmSync(scene.path('.config/containers/registries.d/http.yaml'))
    await server.stop(true)
  })
})

describe('an archive', () => {
  test('is loaded when the policy takes its transport and path, and its images run by the same rule', () => {
    scene.upload('use/archived:1')
    const path = scene.path('archive.tar')
    scene.ok(
      'skopeo',
      '--insecure-policy',
      'copy',
      '--src-tls-verify=false',
      `docker://${scene.name('use/archived:1')}`,
      `oci-archive:${path}:registry.test/archived:1`,
    )
    const by = (scopes: unknown) => ({ default: [reject], transports: { 'oci-archive': scopes } })
    expect(under(by({ [scene.path('elsewhere')]: [accept] }), 'load', '--input', path).stderr).toContain(
      'Cannot load image',
    )
    expect(under(by({ '': [accept], [path]: [reject] }), 'load', '--input', path).stderr).toContain(
      `scope "oci-archive: ${path}"`,
    )
    expect(under(by({ [scene.base]: [signedBy()] }), 'load', '--input', path).stderr).toContain('requires signedBy')
    expect(under(by({ [scene.base]: [accept] }), 'load', '--input', path).status).toBe(0)
    expect(ran(by({ [scene.base]: [accept] }), 'registry.test/archived:1')).toBe('let through')
    expect(ran(by({ [scene.base]: [reject] }), 'registry.test/archived:1')).toContain('refused')
  })

  test('of docker is of the transport docker-archive', () => {
    const path = scene.path('docker.tar')
    scene.ok(
      'skopeo',
      '--insecure-policy',
      'copy',
      '--src-tls-verify=false',
      `docker://${scene.name('use/archived:1')}`,
      `docker-archive:${path}:registry.test/docker:1`,
    )
    expect(
      under({ default: [accept], transports: { 'docker-archive': { '': [reject] } } }, 'load', '--input', path).stderr,
    ).toContain('scope "docker-archive"')
    expect(
      under({ default: [reject], transports: { 'docker-archive': { '': [accept] } } }, 'load', '--input', path).status,
    ).toBe(0)
  })
})

describe('a policy that is not understood', () => {
  test('lets nothing in and nothing run, and neither does one that is not there', () => {
    const name = scene.name('use/strict:1')
    scene.upload('use/strict:1')
    expect(under(only(accept), 'pull', name).status).toBe(0)
    for (const policy of [{ default: [{ type: 'acceptMostly' }] }, { default: [accept], transport: {} }]) {
      expect(under(policy, 'pull', name).status).toBe(125)
      expect(under(policy, 'run', '--pull=never', name, '/not-there').status).toBe(125)
    }
    const { status, stderr } = scene.berth('--policy', scene.path('nowhere.json'), 'run', '--pull=never', name, 'true')
    expect({ status, stderr }).toEqual({
      status: 125,
      stderr: expect.stringContaining('it does not exist') as unknown as string,
    })
  })

  test('is found in the user’s configuration without an option', () => {
    const name = scene.name('use/strict:1')
    scene.file('.config/containers/policy.json', JSON.stringify(only(reject)))
    expect(scene.berth('pull', name).stderr).toContain(scene.path('.config/containers/policy.json'))
    rmSync(scene.path('.config/containers/policy.json'))
  })
})

describe('berth image trust show', () => {
  test('tells what the policy asks of a name, by which scope, and what became of the image here', () => {
    const name = scene.name('use/shown:1')
    scene.upload('use/shown:1', '--sign-by', alice)
    const policy = { default: [reject], transports: { docker: { [scene.name('use')]: [signedBy()] } } }
    expect(under(policy, 'image', 'trust', 'show', name).stdout).toContain('In store:   no')
    expect(under(policy, 'pull', name).status).toBe(0)
    const { status, stdout } = under(policy, 'image', 'trust', 'show', name)
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: expect.stringContaining(`Scope:      docker: ${scene.name('use')}`) as unknown as string,
    })
    expect(stdout).toContain(`Requires:   signedBy, keys ${scene.path('alice.gpg')}, identity matchRepoDigestOrExact`)
    expect(stdout).toContain('Verdict:    trusted')
    const refused = under(only(reject), 'image', 'trust', 'show', name)
    expect({ status: refused.status, stdout: refused.stdout }).toEqual({
      status: 1,
      stdout: expect.stringContaining('refused by "default": reject') as unknown as string,
    })
  })
})

test('a tag that leads elsewhere than before is told by pull, with both digests', () => {
  const name = scene.name('use/moving:1')
  const before = scene.upload('use/moving:1')
  expect(under(only(accept), 'pull', name).stdout).not.toContain('Moved')
  scene.upload('use/other:1')
  scene.ok(
    'skopeo',
    '--insecure-policy',
    'copy',
    '--src-tls-verify=false',
    '--dest-tls-verify=false',
    `docker://${scene.name('use/other:1')}`,
    `docker://${name}`,
  )
  expect(under(only(accept), 'pull', name).stdout).toContain(`Moved: ${name} was ${before}`)
})

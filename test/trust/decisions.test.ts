// The same images under the same policies, judged by skopeo and by Berth.
import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { readFileSync } from 'node:fs'
import { testIf } from '../support/requirement.ts'
import {
  attach,
  attachment,
  cosignPayload,
  gpgPayload,
  type PolicyDocument,
  sigstoreKey,
  TrustScene,
} from './trust-scene.ts'

const test = testIf('root', 'command skopeo', 'command gpg', 'command docker-registry')
let scene: TrustScene
const keys: Record<string, string> = {}

beforeAll(async () => {
  scene = await TrustScene.start()
  for (const name of ['alice', 'bob']) keys[name] = scene.gpgKey(name)
  scene.upload('team/plain:1')
  // By skopeo, and by nobody's but gpg's own hand.
  scene.upload('team/signed:1', '--sign-by', keys['alice'] ?? '')
  for (const name of FORGED.keys()) {
    const digest = scene.upload(name)
    const [payload, key] = FORGED.get(name)?.(digest) ?? ['', '']
    scene.putGpgSignature(name, digest, 1, payload, keys[key] ?? '')
  }
  const [cosign, other] = [sigstoreKey(scene, 'cosign'), sigstoreKey(scene, 'other')]
  const named = scene.upload('team/cosigned:1')
  await attach(scene, 'team/cosigned:1', named, [
    attachment(cosignPayload(scene.name('team/cosigned:1'), named), cosign),
  ])
  const bare = scene.upload('team/bare:1')
  await attach(scene, 'team/bare:1', bare, [attachment(cosignPayload(scene.name('team/bare'), bare), cosign)])
  const second = scene.upload('team/second:1')
  await attach(scene, 'team/second:1', second, [
    attachment(cosignPayload(scene.name('team/second:1'), second), other),
    attachment(cosignPayload(scene.name('team/second:1'), second), cosign),
  ])
  const wrong = scene.upload('team/wrong:1')
  await attach(scene, 'team/wrong:1', wrong, [attachment(cosignPayload(scene.name('team/wrong:1'), named), cosign)])
}, 60_000)

afterAll(async () => await scene[Symbol.asyncDispose]())

const FORGED: ReadonlyMap<string, (digest: string) => readonly [string, string]> = new Map([
  ['team/by-bob:1', digest => [gpgPayload(scene.name('team/by-bob:1'), digest), 'bob']],
  ['team/other-name:1', digest => [gpgPayload('registry.test/vendor/app:1', digest), 'alice']],
  ['team/other-tag:1', digest => [gpgPayload(scene.name('team/other-tag:2'), digest), 'alice']],
  [
    'team/other-digest:1',
    digest => [gpgPayload(scene.name('team/other-digest:1'), digest.replaceAll(/\d/g, '0')), 'alice'],
  ],
  ['team/cosign-type:1', digest => [cosignPayload(scene.name('team/cosign-type:1'), digest), 'alice']],
  [
    'team/more-critical:1',
    digest => [gpgPayload(scene.name('team/more-critical:1'), digest).replace('"type"', '"evil":1,"type"'), 'alice'],
  ],
])

const accept = { type: 'insecureAcceptAnything' }
const reject = { type: 'reject' }
const signedBy = (name: string, identity?: unknown) => ({
  type: 'signedBy',
  keyType: 'GPGKeys',
  keyPath: scene.path(`${name}.gpg`),
  ...(identity !== undefined && { signedIdentity: identity }),
})
const sigstore = (name: string, identity?: unknown) => ({
  type: 'sigstoreSigned',
  keyPath: scene.path(`${name}.pub`),
  ...(identity !== undefined && { signedIdentity: identity }),
})
const only = (...requirements: readonly unknown[]): PolicyDocument => ({ default: requirements })
const docker = (scopes: Readonly<Record<string, unknown>>): PolicyDocument => ({
  default: [reject],
  transports: { docker: scopes },
})

type Row = readonly [title: string, image: string, policy: () => PolicyDocument, expected: 'accepted' | 'refused']

const ROWS: readonly Row[] = [
  ['anything', 'team/plain:1', () => only(accept), 'accepted'],
  ['nothing', 'team/plain:1', () => only(reject), 'refused'],
  ['anything and nothing', 'team/plain:1', () => only(accept, reject), 'refused'],
  ['the transport', 'team/plain:1', () => docker({ '': [accept] }), 'accepted'],
  [
    'another transport',
    'team/plain:1',
    () => ({ default: [reject], transports: { atomic: { '': [accept] } } }),
    'refused',
  ],
  ['the host', 'team/plain:1', () => docker({ [scene.registry.host]: [accept] }), 'accepted'],
  ['the host without its port', 'team/plain:1', () => docker({ '127.0.0.1': [accept] }), 'refused'],
  ['a wildcard', 'team/plain:1', () => docker({ '*.0.0.1': [accept] }), 'accepted'],
  ['a shorter wildcard', 'team/plain:1', () => docker({ '*.0.1': [accept], '*.1': [reject] }), 'accepted'],
  ['a wildcard of itself', 'team/plain:1', () => docker({ '*.127.0.0.1': [accept] }), 'refused'],
  ['the namespace', 'team/plain:1', () => docker({ [scene.name('team')]: [accept] }), 'accepted'],
  ['part of a word', 'team/plain:1', () => docker({ [scene.name('te')]: [accept] }), 'refused'],
  ['the repository', 'team/plain:1', () => docker({ [scene.name('team/plain')]: [accept] }), 'accepted'],
  ['the reference', 'team/plain:1', () => docker({ [scene.name('team/plain:1')]: [accept] }), 'accepted'],
  ['another tag', 'team/plain:1', () => docker({ [scene.name('team/plain:2')]: [accept] }), 'refused'],
  [
    'the narrowest scope, though a wider one accepts',
    'team/plain:1',
    () => docker({ [scene.name('team/plain')]: [reject], [scene.name('team')]: [accept] }),
    'refused',
  ],
  ['an unsigned image', 'team/plain:1', () => only(signedBy('alice')), 'refused'],
  ['a signature of skopeo', 'team/signed:1', () => only(signedBy('alice')), 'accepted'],
  ['a signature by another key', 'team/signed:1', () => only(signedBy('bob')), 'refused'],
  ['two signers of whom one has signed', 'team/signed:1', () => only(signedBy('alice'), signedBy('bob')), 'refused'],
  ['a signature by the other key', 'team/by-bob:1', () => only(signedBy('bob')), 'accepted'],
  [
    'keys in the policy',
    'team/signed:1',
    () =>
      only({ type: 'signedBy', keyType: 'GPGKeys', keyData: readFileSync(scene.path('alice.gpg')).toString('base64') }),
    'accepted',
  ],
  ['matchExact', 'team/signed:1', () => only(signedBy('alice', { type: 'matchExact' })), 'accepted'],
  ['a signature for another tag', 'team/other-tag:1', () => only(signedBy('alice')), 'refused'],
  ['matchRepository', 'team/other-tag:1', () => only(signedBy('alice', { type: 'matchRepository' })), 'accepted'],
  ['a signature for another name', 'team/other-name:1', () => only(signedBy('alice')), 'refused'],
  [
    'exactReference',
    'team/other-name:1',
    () => only(signedBy('alice', { type: 'exactReference', dockerReference: 'registry.test/vendor/app:1' })),
    'accepted',
  ],
  [
    'exactReference of another tag',
    'team/other-name:1',
    () => only(signedBy('alice', { type: 'exactReference', dockerReference: 'registry.test/vendor/app:2' })),
    'refused',
  ],
  [
    'exactRepository',
    'team/other-name:1',
    () => only(signedBy('alice', { type: 'exactRepository', dockerRepository: 'registry.test/vendor/app' })),
    'accepted',
  ],
  [
    'remapIdentity that leads elsewhere',
    'team/other-name:1',
    () =>
      only(
        signedBy('alice', { type: 'remapIdentity', prefix: scene.name('team'), signedPrefix: 'registry.test/vendor' }),
      ),
    'refused',
  ],
  [
    'remapIdentity that does not apply',
    'team/signed:1',
    () => only(signedBy('alice', { type: 'remapIdentity', prefix: 'registry.test', signedPrefix: 'registry.test/x' })),
    'accepted',
  ],
  ['a signature for other content', 'team/other-digest:1', () => only(signedBy('alice')), 'refused'],
  ['a payload of cosign in an OpenPGP message', 'team/cosign-type:1', () => only(signedBy('alice')), 'refused'],
  ['something critical that is not understood', 'team/more-critical:1', () => only(signedBy('alice')), 'refused'],
  ['a sigstore signature where OpenPGP is asked for', 'team/cosigned:1', () => only(signedBy('alice')), 'refused'],
  ['a type that nobody knows', 'team/plain:1', () => only({ type: 'acceptMostly' }), 'refused'],
  ['a property that nobody knows', 'team/plain:1', () => only({ ...accept, evil: true }), 'refused'],
  ['no requirement', 'team/plain:1', () => only(), 'refused'],
  ['no default', 'team/plain:1', () => ({ transports: { docker: { '': [accept] } } }), 'refused'],
  ['a key that is not there', 'team/signed:1', () => only(signedBy('nobody')), 'refused'],
  [
    'two sources of keys',
    'team/signed:1',
    () => only({ ...signedBy('alice'), keyData: readFileSync(scene.path('alice.gpg')).toString('base64') }),
    'refused',
  ],
  [
    'a scope that is no clean path',
    'team/plain:1',
    () => ({ default: [accept], transports: { dir: { '/a/../b': [accept] } } }),
    'refused',
  ],
]

/** Debian's skopeo refuses whatever has to do with sigstore ("Debian-local change: sigstore disabled"), so these are Berth's alone. */
const SIGSTORE_ROWS: readonly Row[] = [
  ['a sigstore signature', 'team/cosigned:1', () => only(sigstore('cosign')), 'accepted'],
  ['a sigstore signature by another key', 'team/cosigned:1', () => only(sigstore('other')), 'refused'],
  ['an OpenPGP signature where sigstore is asked for', 'team/signed:1', () => only(sigstore('cosign')), 'refused'],
  ['cosign’s name without a tag', 'team/bare:1', () => only(sigstore('cosign')), 'refused'],
  [
    'cosign’s name without a tag, by matchRepository',
    'team/bare:1',
    () => only(sigstore('cosign', { type: 'matchRepository' })),
    'accepted',
  ],
  ['the second of two signatures', 'team/second:1', () => only(sigstore('cosign')), 'accepted'],
  ['a sigstore signature for other content', 'team/wrong:1', () => only(sigstore('cosign')), 'refused'],
  ['both kinds', 'team/cosigned:1', () => only(sigstore('cosign'), accept), 'accepted'],
]

describe('a policy about', () => {
  for (const [title, image, policy, expected] of ROWS) {
    test(`${title}: ${image} is ${expected} by skopeo and by Berth`, () => {
      const { skopeo, berth, why } = scene.decisions(image, policy())
      expect({ skopeo, berth, why }).toEqual({ skopeo: expected, berth: expected, why })
    })
  }

  for (const [title, image, policy, expected] of SIGSTORE_ROWS) {
    test(`${title}: ${image} is ${expected} by Berth`, () => {
      const { berth, why } = scene.decisions(image, policy())
      expect({ berth, why }).toEqual({ berth: expected, why })
    })
  }
})

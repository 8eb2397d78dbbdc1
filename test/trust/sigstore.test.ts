// Sigstore's signatures by certificates and logs, which nothing else on a Debian machine verifies.
import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { createPublicKey, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { COSIGN_ANNOTATIONS } from '../../src/security/trust/attached-signature.ts'
import { testIf } from '../support/requirement.ts'
import { annotated, authority, type Holder, holder, Log } from './sigstore-authority.ts'
import {
  type Attachment,
  attach,
  attachment,
  cosignPayload,
  descriptorOf,
  putBlob,
  putManifest,
  sigstoreKey,
  TrustScene,
} from './trust-scene.ts'

const test = testIf('root', 'command skopeo', 'command openssl', 'command docker-registry')
const EMAIL = 'dev@example.com'
const ISSUER = 'https://accounts.example.com'
const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json'
let scene: TrustScene
let log: Log
let otherLog: Log
const holders: Record<string, Holder> = {}

beforeAll(async () => {
  scene = await TrustScene.start()
  ;[log, otherLog] = [new Log(), new Log()]
  scene.file('log.pub', log.publicKey)
  for (const name of ['fulcio', 'evil']) authority(scene, name)
  const facts = { email: EMAIL, issuer: ISSUER }
  const make = (name: string, from: string, more = {}) => {
    holders[name] = holder(scene, name, from, { ...facts, ...more })
  }
  make('dev', 'fulcio-intermediate')
  make('stranger', 'evil-intermediate')
  make('colleague', 'fulcio-intermediate', { email: 'evil@example.com' })
  make('elsewhere', 'fulcio-intermediate', { issuer: 'https://evil.example.com' })
  make('server', 'fulcio-intermediate', { usage: 'serverAuth' })
}, 60_000)

afterAll(async () => await scene[Symbol.asyncDispose]())

const fulcio = (more = {}) => ({
  default: [
    {
      type: 'sigstoreSigned',
      fulcio: { caPath: scene.path('fulcio.crt'), oidcIssuer: ISSUER, subjectEmail: EMAIL },
      rekorPublicKeyPath: scene.path('log.pub'),
      ...more,
    },
  ],
})

/** A signature with its certificate and the log's promise. */
function certified(
  name: string,
  payload: string,
  from = 'fulcio',
  { by = log, atSeconds = undefined as number | undefined } = {},
): Attachment {
  const one = holders[name]
  if (one === undefined) throw new Error(name)
  const signed = attachment(payload, one.key)
  const chain =
    readFileSync(scene.path(`${from}-intermediate.crt`), 'utf8') + readFileSync(scene.path(`${from}.crt`), 'utf8')
  return annotated(signed, {
    [COSIGN_ANNOTATIONS.certificate]: one.certificate,
    [COSIGN_ANNOTATIONS.chain]: chain,
    [COSIGN_ANNOTATIONS.bundle]: by.promise(signed, one.certificate, atSeconds),
  })
}

let count = 0
/** Uploads an image with signatures, and says what berth says under a policy. */
async function judged(
  policy: unknown,
  make: (payload: string) => readonly Attachment[],
): Promise<{ readonly status: number; readonly stderr: string }> {
  const name = `team/app${count++}:1`
  const digest = scene.upload(name)
  const attachments = make(cosignPayload(scene.name(name), digest))
  if (attachments.length > 0) await attach(scene, name, digest, attachments)
  const { status, stderr } = scene.berth(
    '--policy',
    scene.file('policy.json', JSON.stringify(policy)),
    'pull',
    scene.name(name),
  )
  return { status, stderr }
}

describe('a policy with a certificate authority', () => {
  test('accepts a signature by a certificate of it, in a log, with the intermediate that came along', async () => {
    expect(await judged(fulcio(), payload => [certified('dev', payload)])).toEqual({ status: 0, stderr: '' })
  })

  const REFUSED: readonly (readonly [string, (payload: string) => readonly Attachment[], string])[] = [
    ['no signature', () => [], 'no sigstore signature of it was found'],
    [
      'a certificate of an authority that came along',
      payload => [certified('stranger', payload, 'evil')],
      'certificate',
    ],
    ['a certificate for somebody else', payload => [certified('colleague', payload)], 'for evil@example.com'],
    ['who was identified by somebody else', payload => [certified('elsewhere', payload)], 'https://evil.example.com'],
    ['a certificate for servers', payload => [certified('server', payload)], 'not for signing code'],
    ['another log', payload => [certified('dev', payload, 'fulcio', { by: otherLog })], 'inclusion promise'],
    [
      'a time when the certificate did not hold',
      payload => [certified('dev', payload, 'fulcio', { atSeconds: 1_500_000_000 })],
      'certificate',
    ],
    [
      'no promise of a log',
      payload => {
        const { [COSIGN_ANNOTATIONS.bundle]: _, ...annotations } = certified('dev', payload).annotations
        return [{ payload, annotations }]
      },
      'timestamps',
    ],
    [
      'the promise for another signature',
      payload => {
        const promise = certified('dev', `${payload} `).annotations[COSIGN_ANNOTATIONS.bundle] ?? ''
        return [annotated(certified('dev', payload), { [COSIGN_ANNOTATIONS.bundle]: promise })]
      },
      'not accepted',
    ],
    [
      'a promise whose time was changed',
      payload => {
        const one = certified('dev', payload)
        const promise = JSON.parse(one.annotations[COSIGN_ANNOTATIONS.bundle] ?? '')
        promise.Payload.integratedTime += 1
        return [annotated(one, { [COSIGN_ANNOTATIONS.bundle]: JSON.stringify(promise) })]
      },
      'inclusion promise',
    ],
    [
      'a payload that was changed',
      payload => [{ ...certified('dev', payload), payload: payload.replace('test', 'evil') }],
      'not accepted',
    ],
    ['a bare key', payload => [attachment(payload, sigstoreKey(scene, 'bare'))], 'it has no certificate'],
  ]

  for (const [title, make, why] of REFUSED) {
    test(`refuses ${title}`, async () => {
      const { status, stderr } = await judged(fulcio(), make)
      expect({ status, stderr }).toEqual({ status: 125, stderr: expect.stringContaining(why) as unknown as string })
      expect(stderr).toContain('requires sigstoreSigned')
    })
  }
})

describe('a policy with a key and a log', () => {
  const policy = () => ({
    default: [{ type: 'sigstoreSigned', keyPath: scene.path('team.pub'), rekorPublicKeyPath: scene.path('log.pub') }],
  })
  const promised = (payload: string, by: Log): readonly Attachment[] => {
    const signed = attachment(payload, sigstoreKey(scene, 'team'))
    return [
      annotated(signed, {
        [COSIGN_ANNOTATIONS.bundle]: by.promise(signed, readFileSync(scene.path('team.pub'), 'utf8')),
      }),
    ]
  }

  test('accepts a signature that the log has promised', async () => {
    expect(await judged(policy(), payload => promised(payload, log))).toEqual({ status: 0, stderr: '' })
  })

  test('refuses one that another log has, and one that none has', async () => {
    expect((await judged(policy(), payload => promised(payload, otherLog))).status).toBe(125)
    expect((await judged(policy(), payload => [attachment(payload, sigstoreKey(scene, 'team'))])).status).toBe(125)
  })
})

describe('a bundle that refers to an image', () => {
  const policy = () => ({ default: [{ type: 'sigstoreSigned', keyPath: scene.path('team.pub') }] })

  async function bundled(
    change: (statement: { predicateType: string; subject: { name?: string }[] }) => void,
  ): Promise<ReturnType<TrustScene['berth']>> {
    const name = `team/bundled${count++}`
    const digest = scene.upload(`${name}:1`)
    const statement = {
      _type: 'https://in-toto.io/Statement/v1',
      predicateType: 'https://sigstore.dev/cosign/sign/v1',
      predicate: {},
      subject: [{ name: scene.name(`${name}:1`), digest: { sha256: digest.slice(7) } }],
    }
    change(statement)
    const payloadType = 'application/vnd.in-toto+json'
    const body = JSON.stringify(statement)
    const encoded = `DSSEv1 ${payloadType.length} ${payloadType} ${Buffer.byteLength(body)} ${body}`
    const key = sigstoreKey(scene, 'team')
    const bundle = JSON.stringify({
      mediaType: BUNDLE,
      verificationMaterial: { publicKey: { hint: 'team' }, tlogEntries: [] },
      dsseEnvelope: {
        payload: Buffer.from(body).toString('base64'),
        payloadType,
        signatures: [{ sig: sign('sha256', Buffer.from(encoded), key).toString('base64') }],
      },
    })
    for (const content of ['{}', bundle]) await putBlob(scene, name, content)
    const subject = JSON.parse(
      scene.ok('skopeo', 'inspect', '--raw', '--tls-verify=false', `docker://${scene.name(`${name}:1`)}`),
    )
    const manifest = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      artifactType: BUNDLE,
      config: descriptorOf('application/vnd.oci.empty.v1+json', '{}'),
      layers: [descriptorOf(BUNDLE, bundle)],
      subject: { mediaType: subject.mediaType, digest, size: Buffer.byteLength(JSON.stringify(subject)) },
    }
    const text = JSON.stringify(manifest)
    const own = await putManifest(scene, name, 'bundle', manifest)
    // Debian's registry has no API of referrers, so that their list is a tag.
    await putManifest(scene, name, digest.replace(':', '-'), {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [{ mediaType: manifest.mediaType, artifactType: BUNDLE, digest: own, size: Buffer.byteLength(text) }],
    })
    return scene.berth('--policy', scene.file('policy.json', JSON.stringify(policy())), 'pull', scene.name(`${name}:1`))
  }

  test('is accepted when it states the signing of an image of that name', async () => {
    const { status, stderr } = await bundled(() => undefined)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  })

  test('is refused when it states something else of the image', async () => {
    const { status, stderr } = await bundled(statement => {
      statement.predicateType = 'https://spdx.dev/Document'
    })
    expect({ status, stderr }).toEqual({
      status: 125,
      stderr: expect.stringContaining('https://spdx.dev/Document') as unknown as string,
    })
  })

  test('is refused when it names another image, or none', async () => {
    const other = await bundled(({ subject: [first] }) => {
      if (first !== undefined) first.name = 'registry.test/app:1'
    })
    expect(other.stderr).toContain('for the name "registry.test/app:1"')
    const none = await bundled(({ subject: [first] }) => {
      delete first?.name
    })
    expect(none.stderr).toContain('a signature names no image')
  })
})

test('keys of RSA and of Edwards curves verify as well', async () => {
  for (const kind of ['rsa', 'ed25519']) {
    scene.ok('openssl', 'genpkey', '-algorithm', kind, '-out', scene.path(`${kind}.key`))
    const key = (await import('node:crypto')).createPrivateKey(readFileSync(scene.path(`${kind}.key`)))
    scene.file(`${kind}.pub`, createPublicKey(key).export({ type: 'spki', format: 'pem' }))
    const policy = { default: [{ type: 'sigstoreSigned', keyPath: scene.path(`${kind}.pub`) }] }
    const { status, stderr } = await judged(policy, payload => {
      const signature = sign(kind === 'rsa' ? 'sha256' : null, Buffer.from(payload), key).toString('base64')
      return [{ payload, annotations: { [COSIGN_ANNOTATIONS.signature]: signature } }]
    })
    expect({ kind, status, stderr }).toEqual({ kind, status: 0, stderr: '' })
  }
})

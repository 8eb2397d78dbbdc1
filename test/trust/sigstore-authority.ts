/** A certificate authority like Fulcio and a log like Rekor, made by openssl and by hand. */
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { COSIGN_ANNOTATIONS } from '../../src/security/trust/attached-signature.ts'
import type { Attachment, TrustScene } from './trust-scene.ts'

/** A certificate with its key. */
export interface Holder {
  readonly certificate: string
  readonly key: KeyObject
}

/** What a certificate says. */
export interface HolderFacts {
  readonly email: string
  readonly issuer: string
  readonly usage?: string
}

/** A self-signed authority in `NAME.crt`, and one that it has signed in `NAME-intermediate.crt`. */
export function authority(scene: TrustScene, name: string): void {
  const ca = 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n'
  scene.ok(
    'openssl',
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
    ...['-keyout', scene.path(`${name}.key`), '-out', scene.path(`${name}.crt`), '-subj', `/CN=${name}`, '-days', '2'],
    ...['-addext', 'keyUsage=critical,keyCertSign'],
  )
  request(scene, `${name}-intermediate`)
  issue(scene, `${name}-intermediate`, name, `${ca}authorityKeyIdentifier=keyid\n`)
}

/** A certificate of the intermediate of an authority for who signs. */
export function holder(scene: TrustScene, name: string, from: string, facts: HolderFacts): Holder {
  request(scene, name)
  const { email, issuer, usage = 'codeSigning' } = facts
  const extensions = [
    'keyUsage=critical,digitalSignature',
    `extendedKeyUsage=${usage}`,
    `subjectAltName=critical,email:${email}`,
    'authorityKeyIdentifier=keyid',
    `1.3.6.1.4.1.57264.1.8=ASN1:UTF8String:${issuer}`,
  ]
  issue(scene, name, from, `${extensions.join('\n')}\n`)
  return {
    certificate: readFileSync(scene.path(`${name}.crt`), 'utf8'),
    key: createPrivateKey(readFileSync(scene.path(`${name}.key`))),
  }
}

function request(scene: TrustScene, name: string): void {
  scene.ok(
    'openssl',
    ...['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
    ...['-keyout', scene.path(`${name}.key`), '-out', scene.path(`${name}.csr`), '-subj', `/CN=${name}`],
  )
}

function issue(scene: TrustScene, name: string, from: string, extensions: string): void {
  scene.ok(
    'openssl',
    ...['x509', '-req', '-in', scene.path(`${name}.csr`), '-out', scene.path(`${name}.crt`), '-days', '1'],
    ...['-CA', scene.path(`${from}.crt`), '-CAkey', scene.path(`${from}.key`), '-CAcreateserial'],
    ...['-extfile', scene.file(`${name}.ext`, extensions)],
  )
}

/** A transparency log. */
export class Log {
  readonly publicKey: string
  readonly #key: KeyObject

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.publicKey = publicKey.export({ type: 'spki', format: 'pem' }).toString()
    this.#key = privateKey
  }

  /** The log's promise that it has taken a signature by a key or certificate in PEM. */
  promise(signed: Attachment, signer: string, atSeconds = Math.floor(Date.now() / 1000)): string {
    const hash = createHash('sha256').update(signed.payload).digest('hex')
    const entry = {
      apiVersion: '0.0.1',
      kind: 'hashedrekord',
      spec: {
        data: { hash: { algorithm: 'sha256', value: hash } },
        signature: {
          content: signed.annotations[COSIGN_ANNOTATIONS.signature],
          publicKey: { content: Buffer.from(signer).toString('base64') },
        },
      },
    }
    const body = Buffer.from(JSON.stringify(entry)).toString('base64')
    const der = Buffer.from(this.publicKey.replaceAll(/-----[^-]+-----|\n/g, ''), 'base64')
    const logID = createHash('sha256').update(der).digest('hex')
    // In the order of canonical JSON, over which the promise is signed.
    const payload = { body, integratedTime: atSeconds, logID, logIndex: 7 }
    const promise = sign('sha256', Buffer.from(JSON.stringify(payload)), this.#key).toString('base64')
    return JSON.stringify({ SignedEntryTimestamp: promise, Payload: payload })
  }
}

/** The signature with more annotations. */
export function annotated(signed: Attachment, more: Readonly<Record<string, string>>): Attachment {
  return { ...signed, annotations: { ...signed.annotations, ...more } }
}

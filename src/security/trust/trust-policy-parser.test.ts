import { describe, expect, test } from 'bun:test'
import { parseTrustPolicy } from './trust-policy-parser.ts'

const KEY = Buffer.from('key').toString('base64')
const parse = (policy: unknown) => parseTrustPolicy(JSON.stringify(policy), 'policy.json')
const requirement = (value: unknown) => parse({ default: [value] }).default[0]

describe('parseTrustPolicy()', () => {
  test('gives requirements by transport and scope', () => {
    const policy = parse({
      default: [{ type: 'reject' }],
      transports: { docker: { '': [{ type: 'reject' }], 'example.com/team': [{ type: 'insecureAcceptAnything' }] } },
    })
    expect(policy.default).toEqual([{ type: 'reject' }])
    expect(policy.transports.get('docker')?.get('example.com/team')).toEqual([{ type: 'insecureAcceptAnything' }])
  })

  test('fills in the identity that a signature has to be for', () => {
    expect(requirement({ type: 'signedBy', keyType: 'GPGKeys', keyPath: '/k' })).toEqual({
      type: 'signedBy',
      keys: { kind: 'files', paths: ['/k'] },
      signedIdentity: { type: 'matchRepoDigestOrExact' },
    })
  })

  test('knows each source of keys', () => {
    const sigstore = (more: object) => requirement({ type: 'sigstoreSigned', ...more })
    for (const more of [{ keyPath: '/k' }, { keyPaths: ['/a', '/b'] }, { keyData: KEY }, { keyDatas: [KEY, KEY] }])
      expect(sigstore(more)?.type).toBe('sigstoreSigned')
    const fulcio = { caPath: '/ca', oidcIssuer: 'https://example.com', subjectEmail: 'a@example.com' }
    expect(sigstore({ fulcio, rekorPublicKeyData: KEY })).toMatchObject({
      signer: { kind: 'fulcio', authority: { kind: 'files', paths: ['/ca'] }, subjectEmail: 'a@example.com' },
      rekorKeys: { kind: 'data' },
    })
  })

  const signedBy = { type: 'signedBy', keyType: 'GPGKeys', keyPath: '/k' }
  const sigstore = { type: 'sigstoreSigned', keyPath: '/k' }
  const fulcio = { caPath: '/ca', oidcIssuer: 'https://example.com', subjectEmail: 'a@example.com' }
  test.each<[string, unknown]>([
    ['default is absent', { transports: {} }],
    ['an array of at least 1', { default: [] }],
    ['unknown property extra', { default: [{ type: 'reject' }], extra: 1 }],
    ['the spelling default', { default: [{ type: 'reject' }], Default: [] }],
    ['unknown property default[0].keyPath', { default: [{ type: 'reject', keyPath: '/k' }] }],
    ['one of insecureAcceptAnything', { default: [{ type: 'signedBaseLayer' }] }],
    ['default[0].type is absent', { default: [{}] }],
    ['expected one of GPGKeys', { default: [{ ...signedBy, keyType: 'X509Certificates' }] }],
    ['exactly one of keyPath, keyPaths, keyData', { default: [{ ...signedBy, keyPath: undefined }] }],
    ['exactly one of', { default: [{ ...signedBy, keyData: KEY }] }],
    ['exactly one of keyPath, keyPaths, keyData', { default: [{ ...signedBy, keyPath: undefined, keyDatas: [KEY] }] }],
    ['an absolute path', { default: [{ ...signedBy, keyPath: 'key.gpg' }] }],
    ['an array of at least 1', { default: [{ ...sigstore, keyPath: undefined, keyPaths: [] }] }],
    ['base64', { default: [{ ...sigstore, keyPath: undefined, keyData: 'no base64!' }] }],
    ['either fulcio or keyPath', { default: [{ ...sigstore, fulcio, rekorPublicKeyPath: '/r' }] }],
    ['a key of the log', { default: [{ type: 'sigstoreSigned', fulcio }] }],
    ['at most one of', { default: [{ ...sigstore, rekorPublicKeyPath: '/r', rekorPublicKeyData: KEY }] }],
    [
      'subjectEmail is absent',
      {
        default: [{ type: 'sigstoreSigned', fulcio: { ...fulcio, subjectEmail: undefined }, rekorPublicKeyPath: '/r' }],
      },
    ],
    [
      'a text that is not empty',
      { default: [{ type: 'sigstoreSigned', fulcio: { ...fulcio, oidcIssuer: '' }, rekorPublicKeyPath: '/r' }] },
    ],
    ['pki is not supported', { default: [{ type: 'sigstoreSigned', pki: {} }] }],
    [
      'a name with tag or digest',
      { default: [{ ...signedBy, signedIdentity: { type: 'exactReference', dockerReference: 'example.com/a' } }] },
    ],
    [
      'a name without tag',
      { default: [{ ...signedBy, signedIdentity: { type: 'exactRepository', dockerRepository: 'example.com/a:1' } }] },
    ],
    [
      'a host, a namespace',
      { default: [{ ...signedBy, signedIdentity: { type: 'remapIdentity', prefix: '', signedPrefix: 'a' } }] },
    ],
    ['signedPrefix is absent', { default: [{ ...signedBy, signedIdentity: { type: 'remapIdentity', prefix: 'a' } }] }],
    [
      'unknown property',
      { default: [{ ...signedBy, signedIdentity: { type: 'matchExact', dockerReference: 'a:1' } }] },
    ],
    ['one of matchExact', { default: [{ ...signedBy, signedIdentity: { type: 'matchAll' } }] }],
    [
      'an absolute path',
      { default: [{ type: 'reject' }], transports: { oci: { 'relative/path': [{ type: 'reject' }] } } },
    ],
    ['an absolute path', { default: [{ type: 'reject' }], transports: { dir: { '/': [{ type: 'reject' }] } } }],
    [
      'no scope but ""',
      { default: [{ type: 'reject' }], transports: { 'docker-archive': { '/a': [{ type: 'reject' }] } } },
    ],
  ])('refuses what is not understood: %s', (said, policy) => expect(() => parse(policy)).toThrow(said))

  test('refuses a name twice, of which two readers could take one each', () => {
    const twice = '{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}'
    expect(() => parseTrustPolicy(twice, 'policy.json')).toThrow('it has "default" twice')
  })

  test('refuses what is no JSON, and names the file', () => {
    expect(() => parseTrustPolicy('{"default": /* all */ []}', '/etc/policy.json')).toThrow(
      'Cannot parse /etc/policy.json',
    )
  })
})

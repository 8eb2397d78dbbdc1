import { BerthError } from '../../lib/error.ts'
import { duplicateName } from '../../lib/json-duplicate.ts'
import {
  below,
  exactObject,
  list,
  map,
  object,
  oneOf,
  type Place,
  parseJson,
  pathOf,
  required,
  type Shape,
  shapeError,
  text,
  texts,
} from '../../lib/json-shape.ts'
import { parseReference } from '../../oci/reference.ts'
import type {
  KeySource,
  SignedBy,
  SignedIdentity,
  SigstoreSigned,
  SigstoreSigner,
  TrustPolicy,
  TrustRequirement,
} from './trust-policy.ts'

/** Nobody writes a larger one by hand; keys in it are a few kilobytes each. */
const POLICY_LIMIT_BYTES = 4 * 1024 * 1024

/**
 * Parses a trust policy. Whatever of it is not understood, to the last property, makes it an error: half a policy is none.
 * @param name of the file, for errors
 * @throws {BerthError} invalidArgument, naming the place
 */
export function parseTrustPolicy(document: string, name: string): TrustPolicy {
  if (document.length > POLICY_LIMIT_BYTES)
    throw new BerthError(
      'invalidArgument',
      `Cannot parse ${name}: it has ${document.length} bytes, expected at most ${POLICY_LIMIT_BYTES}`,
    )
  const { value, warnings } = parseJson(document, name, policy)
  const [unknown] = warnings
  if (unknown !== undefined)
    throw new BerthError('invalidArgument', `Cannot parse ${unknown.replace(' is ignored', '')}, expected none`)
  const twice = duplicateName(document)
  if (twice === null) return value
  throw new BerthError('invalidArgument', `Cannot parse ${name}: it has ${JSON.stringify(twice.slice(0, 80))} twice`)
}

interface WirePolicy {
  readonly default: readonly TrustRequirement[]
  readonly transports?: Readonly<Record<string, Readonly<Record<string, readonly TrustRequirement[]>>>>
}

const policy: Shape<TrustPolicy> = (value, place) => {
  const { default: fallback, transports = {} } = wirePolicy(value, place)
  for (const [transport, scopes] of Object.entries(transports)) {
    for (const scope of Object.keys(scopes)) {
      const problem = scopeProblem(transport, scope)
      if (problem !== null) throw shapeError(scope, below(below(place, 'transports'), transport), problem)
    }
  }
  const entries = Object.entries(transports).map(
    ([transport, scopes]) => [transport, new Map(Object.entries(scopes))] as const,
  )
  return { default: fallback, transports: new Map(entries) }
}

const requirement: Shape<TrustRequirement> = (value, place) => {
  switch (typeOf(REQUIREMENT_TYPES, value, place)) {
    case 'insecureAcceptAnything':
      return exactObject<{ type: 'insecureAcceptAnything' }>({ type: required(oneOf(['insecureAcceptAnything'])) })(
        value,
        place,
      )
    case 'reject':
      return exactObject<{ type: 'reject' }>({ type: required(oneOf(['reject'])) })(value, place)
    case 'signedBy':
      return signedBy(value, place)
    case 'sigstoreSigned':
      return sigstoreSigned(value, place)
  }
}

const REQUIREMENT_TYPES = ['insecureAcceptAnything', 'reject', 'signedBy', 'sigstoreSigned'] as const
const requirements = list(requirement, 1)
const wirePolicy = exactObject<WirePolicy>({ default: required(requirements), transports: map(map(requirements)) })

/** The type decides which other properties there may be, so it is looked at first. */
function typeOf<const T extends string>(types: readonly T[], value: unknown, place: Place): T {
  const { warnings } = place.document
  const before = warnings.length
  const { type } = object<{ readonly type: T }>({ type: required(oneOf(types)) } as never)(value, place)
  // The other properties are not unknown: they are looked at next.
  warnings.length = before
  return type
}

interface WireSignedBy {
  readonly type: 'signedBy'
  readonly keyType: 'GPGKeys'
  readonly keyPath?: string
  readonly keyPaths?: readonly string[]
  readonly keyData?: string
  readonly signedIdentity?: SignedIdentity
}

const signedBy: Shape<SignedBy> = (value, place) => {
  const { signedIdentity = DEFAULT_IDENTITY, ...wire } = wireSignedBy(value, place)
  return { type: 'signedBy', keys: oneKeySource(wire, KEY_NAMES.slice(0, 3), place), signedIdentity }
}

interface WireFulcio {
  readonly caPath?: string
  readonly caData?: string
  readonly oidcIssuer: string
  readonly subjectEmail: string
}

interface WireSigstoreSigned {
  readonly type: 'sigstoreSigned'
  readonly keyPath?: string
  readonly keyPaths?: readonly string[]
  readonly keyData?: string
  readonly keyDatas?: readonly string[]
  readonly fulcio?: WireFulcio
  readonly pki?: NonNullable<unknown>
  readonly rekorPublicKeyPath?: string
  readonly rekorPublicKeyPaths?: readonly string[]
  readonly rekorPublicKeyData?: string
  readonly rekorPublicKeyDatas?: readonly string[]
  readonly signedIdentity?: SignedIdentity
}

const sigstoreSigned: Shape<SigstoreSigned> = (value, place) => {
  const { signedIdentity = DEFAULT_IDENTITY, fulcio, pki, ...wire } = wireSigstoreSigned(value, place)
  if (pki !== undefined)
    throw new BerthError(
      'notImplemented',
      `Cannot use ${place.document.name}: ${pathOf(place)}.pki is not supported, expected keys or fulcio`,
    )
  const rekorKeys = keySources(wire, REKOR_NAMES, place)
  if (rekorKeys.length > 1) throw shapeError(value, place, `at most one of ${REKOR_NAMES.join(', ')}`)
  const [rekor = null] = rekorKeys
  return { type: 'sigstoreSigned', signer: signerOf(wire, fulcio, rekor, place), rekorKeys: rekor, signedIdentity }
}

function signerOf(
  wire: KeyProperties,
  fulcio: WireFulcio | undefined,
  rekor: KeySource | null,
  place: Place,
): SigstoreSigner {
  if (fulcio === undefined) return { kind: 'keys', keys: oneKeySource(wire, KEY_NAMES, place, 'fulcio') }
  const [other] = KEY_NAMES.filter(name => wire[name] !== undefined)
  if (other !== undefined) throw shapeError(wire, place, `either fulcio or ${other}`)
  // Such a certificate holds for minutes: only a log can say that the signature was made in them.
  if (rekor === null) throw shapeError(wire, place, 'a key of the log (rekorPublicKeyPath or …Data) beside fulcio')
  const { caPath, caData, oidcIssuer, subjectEmail } = fulcio
  const authority = oneKeySource({ caPath, caData }, ['caPath', 'caData'], below(place, 'fulcio'))
  return { kind: 'fulcio', authority, oidcIssuer, subjectEmail }
}

type KeyProperties = Readonly<Record<string, string | readonly string[] | undefined | null>>

const KEY_NAMES: readonly string[] = ['keyPath', 'keyPaths', 'keyData', 'keyDatas']
const REKOR_NAMES: readonly string[] = [
  'rekorPublicKeyPath',
  'rekorPublicKeyPaths',
  'rekorPublicKeyData',
  'rekorPublicKeyDatas',
]

function oneKeySource(
  wire: KeyProperties,
  names: readonly string[],
  place: Place,
  ...others: readonly string[]
): KeySource {
  const [first, ...more] = keySources(wire, names, place)
  if (first !== undefined && more.length === 0) return first
  throw shapeError(wire, place, `exactly one of ${[...names, ...others].join(', ')}`)
}

function keySources(wire: KeyProperties, names: readonly string[], place: Place): readonly KeySource[] {
  return names.flatMap((name): KeySource[] => {
    const value = wire[name]
    if (value === undefined || value === null) return []
    const values = typeof value === 'string' ? [value] : value
    const where = below(place, name)
    if (values.length === 0) throw shapeError(value, where, 'an array of at least 1')
    return [
      /Datas?$/.test(name) ? { kind: 'data', data: values.map(each => decoded(each, where)) } : filesOf(values, where),
    ]
  })
}

/** Relative paths would mean another file in each working directory. */
function filesOf(paths: readonly string[], place: Place): KeySource {
  const relative = paths.find(path => !path.startsWith('/') || path.includes('\0'))
  if (relative !== undefined) throw shapeError(relative, place, 'an absolute path')
  return { kind: 'files', paths }
}

function decoded(value: string, place: Place): Uint8Array {
  const packed = value.replaceAll(/[\r\n]/g, '')
  if (packed === '' || packed.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(packed))
    throw shapeError(value, place, 'base64')
  return Buffer.from(packed, 'base64')
}

const DEFAULT_IDENTITY: SignedIdentity = { type: 'matchRepoDigestOrExact' }
const PLAIN_IDENTITIES = ['matchExact', 'matchRepoDigestOrExact', 'matchRepository'] as const
const IDENTITY_TYPES = [...PLAIN_IDENTITIES, 'exactReference', 'exactRepository', 'remapIdentity'] as const

const signedIdentity: Shape<SignedIdentity> = (value, place) => {
  switch (typeOf(IDENTITY_TYPES, value, place)) {
    case 'exactReference':
      return exactObject<Extract<SignedIdentity, { type: 'exactReference' }>>({
        type: required(oneOf(['exactReference'])),
        dockerReference: required(reference('a name with tag or digest')),
      })(value, place)
    case 'exactRepository':
      return exactObject<Extract<SignedIdentity, { type: 'exactRepository' }>>({
        type: required(oneOf(['exactRepository'])),
        dockerRepository: required(reference('a name without tag and digest')),
      })(value, place)
    case 'remapIdentity':
      return exactObject<Extract<SignedIdentity, { type: 'remapIdentity' }>>({
        type: required(oneOf(['remapIdentity'])),
        prefix: required(namePrefix),
        signedPrefix: required(namePrefix),
      })(value, place)
    default:
      return exactObject<Extract<SignedIdentity, { type: (typeof PLAIN_IDENTITIES)[number] }>>({
        type: required(oneOf(PLAIN_IDENTITIES)),
      } as never)(value, place)
  }
}

const wireSignedBy = exactObject<WireSignedBy>({
  type: required(oneOf(['signedBy'])),
  keyType: required(oneOf(['GPGKeys'])),
  keyPath: text,
  keyPaths: texts,
  keyData: text,
  signedIdentity,
})

const wireSigstoreSigned = exactObject<WireSigstoreSigned>({
  type: required(oneOf(['sigstoreSigned'])),
  keyPath: text,
  keyPaths: texts,
  keyData: text,
  keyDatas: texts,
  fulcio: exactObject<WireFulcio>({
    caPath: text,
    caData: text,
    oidcIssuer: required(notEmpty()),
    subjectEmail: required(notEmpty()),
  }),
  pki: value => value ?? {},
  rekorPublicKeyPath: text,
  rekorPublicKeyPaths: texts,
  rekorPublicKeyData: text,
  rekorPublicKeyDatas: texts,
  signedIdentity,
})

function notEmpty(): Shape<string> {
  return (value, place) => {
    const found = text(value, place)
    if (found === '') throw shapeError(value, place, 'a text that is not empty')
    return found
  }
}

function reference(expected: 'a name with tag or digest' | 'a name without tag and digest'): Shape<string> {
  return (value, place) => {
    const found = text(value, place)
    let parsed: ReturnType<typeof parseReference>
    try {
      parsed = parseReference(found)
    } catch {
      // The place in the policy says more than what exactly is wrong with the name.
      throw shapeError(value, place, expected)
    }
    const isWhole = parsed.tag !== null || parsed.digest !== null
    if (isWhole !== (expected === 'a name with tag or digest')) throw shapeError(value, place, expected)
    return found
  }
}

/** A host, a namespace or a repository, in full. */
const namePrefix: Shape<string> = (value, place) => {
  const found = text(value, place)
  const isPlain = /^[A-Za-z0-9.[\]:_-]+(?:\/[a-z0-9._-]+)*$/.test(found)
  const tag = found.slice(found.lastIndexOf('/') + 1).includes(':') && found.includes('/')
  if (!isPlain || tag) throw shapeError(value, place, 'a host, a namespace or a repository, in full')
  return found
}

const PATH_TRANSPORTS: readonly string[] = ['dir', 'oci', 'oci-archive']

/** What is wrong with a scope, which could never match; null: nothing. */
function scopeProblem(transport: string, scope: string): string | null {
  if (scope === '') return null
  if (transport === 'docker-archive') return 'no scope but ""'
  if (!PATH_TRANSPORTS.includes(transport)) return null
  const path = scope.split('/')
  const isClean = scope.startsWith('/') && scope !== '/' && !path.slice(1).some(each => ['', '.', '..'].includes(each))
  return isClean ? null : 'an absolute path without ".", ".." and a slash at its end, and not "/"'
}

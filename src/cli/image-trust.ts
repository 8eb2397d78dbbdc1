import type { GivenRoots } from '../engine/data-root.ts'
import { signaturePlacesOf } from '../engine/find-signatures.ts'
import { ImageTrust } from '../engine/image-trust.ts'
import { openEngine } from '../engine/open-engine.ts'
import { lookUpImage } from '../image/find-image.ts'
import { ownManifest } from '../image/image-record.ts'
import { ImageRecords } from '../image/image-records.ts'
import { parseReference, printReference, withDefaultTag } from '../oci/reference.ts'
import { registryOrigin, requirementsFor } from '../security/trust/image-origin.ts'
import type { KeySource, SignedIdentity, TrustRequirement } from '../security/trust/trust-policy.ts'
import { needsSignature } from '../security/trust/trust-policy.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'
import { printable } from './table.ts'

const grammar: Grammar = {
  name: 'image trust show',
  operands: 'NAME[:TAG|@DIGEST]',
  help: 'Shows what the trust policy asks of an image, and whether the one in the store has it.',
  options: [{ name: 'help', kind: 'flag', help: 'show this text' }],
}

const UNTRUSTED = 1

/** `berth image trust show`: 1 when the policy refuses the image of the store. */
export async function imageTrustCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  const [verb, name, ...more] = parsed.operands
  if (verb !== 'show') throw new UsageError(grammar, `Cannot "${verb ?? ''}" trust: expected show`)
  if (name === undefined || more.length > 0)
    throw new UsageError(grammar, `Cannot show trust in ${parsed.operands.length - 1} images: expected one name`)
  const reference = withDefaultTag(parseReference(name))
  const engine = openEngine(roots, message => console.error(`berth: warning: ${printable(message)}`))
  const trust = ImageTrust.open(engine)
  const { requirements, scope } = requirementsFor(trust.policy, registryOrigin(reference))
  const print = (title: string, text: string): void => console.log(printable(`${title.padEnd(12)}${text}`))
  print('Reference:', printReference(reference))
  print('Policy:', trust.policyPath ?? 'none: images whose digests are right are trusted')
  print('Scope:', scope)
  for (const requirement of requirements) print('Requires:', describe(requirement))
  if (requirements.some(needsSignature)) {
    const { lookaside, useAttachments } = signaturePlacesOf(reference)
    print('Signatures:', `${lookaside ?? 'none'}; sigstore's in the registry: ${useAttachments ? 'yes' : 'no'}`)
  }
  const found = lookUpImage(name, new ImageRecords(engine.database.sqlite))
  const manifest = found === null ? null : (found.manifest ?? ownManifest(found.image))
  if (found === null || manifest === null) {
    print('In store:', 'no')
    return 0
  }
  const verdicts = await trust.judge({ image: found.image.digest, manifest: manifest.digest }, found.name)
  print('In store:', found.image.digest)
  for (const { origin, scope: where, unmet } of verdicts) {
    print('From:', origin.reference ?? [origin.transport, ...origin.scopes.slice(0, 1)].join(': '))
    print('Verdict:', unmet === null ? 'trusted' : `refused by "${where}": ${unmet.requirement.type}: ${unmet.why}`)
  }
  return verdicts.some(({ unmet }) => unmet === null) ? 0 : UNTRUSTED
}

function describe(requirement: TrustRequirement): string {
  switch (requirement.type) {
    case 'insecureAcceptAnything':
    case 'reject':
      return requirement.type
    case 'signedBy':
      return `signedBy, keys ${keysOf(requirement.keys)}, ${identityOf(requirement.signedIdentity)}`
    case 'sigstoreSigned': {
      const { signer, rekorKeys, signedIdentity } = requirement
      const who =
        signer.kind === 'keys'
          ? `keys ${keysOf(signer.keys)}`
          : `${signer.subjectEmail} by ${signer.oidcIssuer}, authority ${keysOf(signer.authority)}`
      const log = rekorKeys === null ? '' : `, log ${keysOf(rekorKeys)}`
      return `sigstoreSigned, ${who}${log}, ${identityOf(signedIdentity)}`
    }
  }
}

function keysOf(source: KeySource): string {
  return source.kind === 'files' ? source.paths.join(', ') : 'in the policy'
}

function identityOf(identity: SignedIdentity): string {
  const { type, ...rest } = identity
  return ['identity', type, ...Object.values(rest)].join(' ')
}

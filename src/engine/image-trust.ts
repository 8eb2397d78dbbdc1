import { createHash } from 'node:crypto'
import { realpathSync } from 'node:fs'
import type { TrustCheck } from '../image/pull-image.ts'
import { type TrustedManifest, TrustRecords } from '../image/trust-records.ts'
import { BerthError, invariant } from '../lib/error.ts'
import type { Digest } from '../oci/digest.ts'
import { familiarReference, parseReference, type Reference } from '../oci/reference.ts'
import { evaluateRequirements, type UnmetRequirement } from '../security/trust/evaluate-requirements.ts'
import {
  type ApplicableRequirements,
  fileOrigin,
  type ImageOrigin,
  LOCAL_ORIGIN,
  registryOrigin,
  requirementsFor,
} from '../security/trust/image-origin.ts'
import type { ImageSignature } from '../security/trust/image-signature.ts'
import { readKeys } from '../security/trust/key-material.ts'
import { readPolicyFile } from '../security/trust/trust-files.ts'
import {
  type KeySource,
  needsSignature,
  PERMISSIVE_POLICY,
  type TrustPolicy,
  type TrustRequirement,
} from '../security/trust/trust-policy.ts'
import { parseTrustPolicy } from '../security/trust/trust-policy-parser.ts'
import type { ImageEngine } from './image-engine.ts'

/** Finds the signatures of a registry's image that some requirements ask for. */
export type SignatureFinder = (
  reference: Reference,
  digests: readonly Digest[],
  requirements: readonly TrustRequirement[],
) => Promise<readonly ImageSignature[]>

/** An image that is to be used, for errors too. */
interface Candidate extends TrustedManifest {
  readonly verb: 'pull' | 'run' | 'load'
  readonly shown: string
}

/** The verdict about an image of one origin. */
export interface TrustVerdict extends ApplicableRequirements {
  readonly origin: ImageOrigin
  /** Null: it is trusted. */
  readonly unmet: UnmetRequirement | null
}

/** The trust policy of this machine and user, applied to what comes in and what runs. */
export class ImageTrust {
  /** Null: there is none, and images whose digests are right are taken. */
  readonly policyPath: string | null
  readonly policy: TrustPolicy
  readonly #records: TrustRecords

  private constructor(path: string | null, policy: TrustPolicy, records: TrustRecords) {
    this.policyPath = path
    this.policy = policy
    this.#records = records
  }

  /** @throws {BerthError} the policy is not there though it was named, can't be read, or is not understood */
  static open({ roots, database }: Pick<ImageEngine, 'roots' | 'database'>): ImageTrust {
    const file = readPolicyFile(roots.policy)
    const policy = file === null ? PERMISSIVE_POLICY : parseTrustPolicy(file.text, file.path)
    return new ImageTrust(file?.path ?? null, policy, new TrustRecords(database.sqlite))
  }

  /** The check of pulls: what passes it is remembered with its signatures, so that it can be judged again without the registry. */
  pullCheck(find: SignatureFinder): TrustCheck {
    return async (reference, documents) => {
      const digests = documents.map(({ descriptor }) => descriptor.digest)
      const [image, manifest] = [digests[0], digests.at(-1)]
      invariant(image !== undefined && manifest !== undefined, 'there is a target at least')
      const candidate: Candidate = { image, manifest, verb: 'pull', shown: familiarReference(reference) }
      const origin = registryOrigin(reference)
      const applicable = requirementsFor(this.policy, origin)
      const { requirements } = applicable
      // What is rejected anyway is not worth a question to the network.
      const isRejected = requirements.some(({ type }) => type === 'reject')
      const signatures =
        !isRejected && requirements.some(needsSignature) ? await find(reference, digests, requirements) : []
      const judged = { reference: origin.reference, digests, signatures }
      const unmet = await evaluateRequirements(requirements, judged)
      if (unmet !== null) throw this.#refusal(candidate, { ...applicable, origin, unmet })
      const basis = await basisOf(requirements)
      this.#records.keep({ image, manifest, origin, signatures, basis }, Date.now())
    }
  }

  /**
   * Checks an image that is to run; `name` is the canonical name it was found by. Where it came from under that name decides,
   * else one of the places that it came from must be trusted: it is the same image.
   * @throws {BerthError} forbidden: it is not trusted
   */
  async checkRun(which: TrustedManifest, name: string | null, shown: string): Promise<void> {
    const verdicts = await this.judge(which, name)
    const [first] = verdicts
    if (first === undefined || verdicts.some(({ unmet }) => unmet === null)) return
    throw this.#refusal({ ...which, verb: 'run', shown }, first)
  }

  /** What is to be said of an image of the store, by each origin that counts. */
  async judge(which: TrustedManifest, name: string | null): Promise<readonly TrustVerdict[]> {
    const all = this.#records.originsOf(which.image)
    const named = all.filter(({ reference }) => reference !== null && reference === name)
    const origins = named.length > 0 ? named : all.length > 0 ? all : [LOCAL_ORIGIN]
    return await Promise.all(origins.map(origin => this.#judgeOrigin(which, origin)))
  }

  async #judgeOrigin(which: TrustedManifest, origin: ImageOrigin): Promise<TrustVerdict> {
    const applicable = requirementsFor(this.policy, origin)
    const { requirements } = applicable
    const basis = await basisOf(requirements)
    const now = Date.now()
    if (basis !== null && this.#records.isAccepted(which, origin, basis, now))
      return { ...applicable, origin, unmet: null }
    const signatures = requirements.some(needsSignature) ? this.#records.signaturesOf(which) : []
    const digests = [which.image, which.manifest, ...signatures.map(({ subject }) => subject)]
    const unmet = await evaluateRequirements(requirements, { reference: origin.reference, digests, signatures })
    if (unmet === null && basis !== null) this.#records.accept(which, origin, basis, now)
    return { ...applicable, origin, unmet }
  }

  /** Checks an image of an archive or a layout, and remembers where it came from. `path` null: of a pipe. */
  async checkFile(
    transport: 'docker-archive' | 'oci-archive' | 'oci',
    path: string | null,
    names: readonly string[],
    image: Digest,
  ): Promise<void> {
    // An archive may name an image in full or by its tag alone, and so may a policy.
    const tags = names.flatMap(name => parseReference(name).tag ?? [])
    const origin = await this.#checkFileOrigin('load', transport, path, [...names, ...tags], names[0] ?? image)
    this.#records.keep({ image, manifest: image, origin, signatures: [], basis: null }, Date.now())
  }

  /** Checks an image of a layout that is to run from where it is. */
  async checkLayout(path: string, tag: string | null): Promise<void> {
    await this.#checkFileOrigin('run', 'oci', path, tag === null ? [] : [tag], path)
  }

  async #checkFileOrigin(
    verb: Candidate['verb'],
    transport: 'docker-archive' | 'oci-archive' | 'oci',
    path: string | null,
    names: readonly string[],
    shown: string,
  ): Promise<ImageOrigin> {
    const origin = fileOrigin(transport, path === null ? null : realpathSync(path), names)
    const applicable = requirementsFor(this.policy, origin)
    const judged = { reference: null, digests: [], signatures: [] }
    const unmet = await evaluateRequirements(applicable.requirements, judged)
    if (unmet === null) return origin
    throw this.#refusal({ verb, shown }, { ...applicable, origin, unmet })
  }

  #refusal({ verb, shown }: Pick<Candidate, 'verb' | 'shown'>, { scope, unmet }: TrustVerdict): BerthError {
    invariant(unmet !== null, 'only what is not trusted is refused')
    const policy = `trust policy "${this.policyPath}"`
    const hint = verb === 'run' && needsSignature(unmet.requirement) ? ', see "berth pull" to fetch its signatures' : ''
    return new BerthError(
      'forbidden',
      `Cannot ${verb} image "${shown}": ${policy}, scope "${scope}", requires ${unmet.requirement.type}, and ${unmet.why}${hint}`,
    )
  }
}

/** What a decision rests on: the requirements with the bytes of their keys. Null: no signature is asked for, so there is nothing to remember. */
async function basisOf(requirements: readonly TrustRequirement[]): Promise<string | null> {
  if (!requirements.some(needsSignature)) return null
  const hash = createHash('sha256').update(JSON.stringify(requirements))
  for (const requirement of requirements) {
    for (const keys of keySourcesOf(requirement)) {
      for (const bytes of await readKeys(keys)) hash.update(`\n${bytes.length}\n`).update(bytes)
    }
  }
  return hash.digest('hex')
}

function keySourcesOf(requirement: TrustRequirement): readonly KeySource[] {
  if (!needsSignature(requirement)) return []
  if (requirement.type === 'signedBy') return [requirement.keys]
  const { signer, rekorKeys } = requirement
  return [signer.kind === 'keys' ? signer.keys : signer.authority, ...(rekorKeys === null ? [] : [rekorKeys])]
}

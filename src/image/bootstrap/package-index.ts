import { BerthError } from '../../lib/error.ts'
import { type Digest, parseDigest } from '../../oci/digest.ts'
import { parseStanza, requiredField, type Stanza, splitStanzas } from './control-file.ts'
import { compareDebVersions } from './deb-version.ts'
import { type Alternatives, isVersionOf, type PackageNeed, parseRelation } from './relation.ts'

/** One package of an archive. */
export interface DebPackage {
  readonly name: string
  readonly version: string
  readonly isEssential: boolean
  readonly priority: string
  /** What must be configured before it is unpacked. */
  readonly preDepends: readonly Alternatives[]
  readonly depends: readonly Alternatives[]
  /** The URL of the archive it is in. */
  readonly archive: string
  /** Relative to that. */
  readonly filename: string
  readonly sizeBytes: number
  readonly digest: Digest
}

interface Listed {
  readonly archive: string
  readonly stanza: string
}

const NAME = /^Package: ?(\S+)$/m
const PROVIDES = /^Provides: ?(.+)$/m
const ALWAYS = /^(?:Essential: ?yes|Priority: ?required)$/m

/**
 * The packages of several archives (a distribution's suite, its updates, its security updates). Of a package that is in several the newest
 * counts. An index has some 60,000 stanzas, of which a hundred are needed: only those are parsed.
 * Source: Debian Repository Format › Packages indices.
 */
export class PackageIndex {
  readonly #listed = new Map<string, Listed[]>()
  readonly #providers = new Map<string, Set<string>>()
  readonly #parsed = new Map<string, DebPackage>()
  readonly #always = new Set<string>()

  /** Adds a Packages file of the archive at a URL. @throws {BerthError} invalidArgument: a stanza without a name */
  add(archive: string, text: string): void {
    for (const stanza of splitStanzas(text)) {
      const name = NAME.exec(stanza)?.[1]
      if (name === undefined)
        throw new BerthError('invalidArgument', `Cannot read the packages of ${archive}: a stanza names no package`)
      const known = this.#listed.get(name)
      if (known === undefined) this.#listed.set(name, [{ archive, stanza }])
      else known.push({ archive, stanza })
      if (ALWAYS.test(stanza)) this.#always.add(name)
      for (const provided of PROVIDES.exec(stanza)?.[1]?.split(',') ?? []) {
        const virtual = provided.trim().split(/[\s(:]/)[0] ?? ''
        const providers = this.#providers.get(virtual) ?? new Set()
        this.#providers.set(virtual, providers.add(name))
      }
    }
  }

  /** The newest version of a package; null when no archive has it. */
  find(name: string): DebPackage | null {
    const parsed = this.#parsed.get(name)
    if (parsed !== undefined) return parsed
    let newest: DebPackage | null = null
    for (const each of this.#listed.get(name) ?? []) {
      const found = parsePackage(each)
      if (newest === null || compareDebVersions(found.version, newest.version) > 0) newest = found
    }
    if (newest !== null) this.#parsed.set(name, newest)
    return newest
  }

  /** Those that every system has: `Essential: yes`, or of priority required. Sorted by name. */
  base(): readonly DebPackage[] {
    const found = [...this.#always].sort().flatMap(name => this.find(name) ?? [])
    return found.filter(({ isEssential, priority }) => isEssential || priority === 'required')
  }

  /** What fulfils a need: the package of that name, then those that provide it, sorted by name. */
  candidates(need: PackageNeed): readonly DebPackage[] {
    const named = this.find(need.name)
    const isNamedFit = named !== null && isVersionOf(need, named.version)
    const providers = [...(this.#providers.get(need.name) ?? [])]
      .sort()
      .flatMap(name => this.find(name) ?? [])
      .filter(each => this.#provides(each.name, need))
    return isNamedFit ? [named, ...providers.filter(each => each !== named)] : providers
  }

  /** Whether the newest version of a package provides what is needed. */
  #provides(name: string, need: PackageNeed): boolean {
    const newest = this.find(name)
    for (const each of this.#listed.get(name) ?? []) {
      const stanza = parseStanza(each.stanza, `package "${name}"`)
      if (stanza.get('version') !== newest?.version) continue
      const provided = parseRelation(stanza.get('provides') ?? '', name).flat()
      return provided.some(virtual => virtual.name === need.name && isVersionOf(need, virtual.version?.value ?? null))
    }
    return false
  }
}

function parsePackage({ archive, stanza }: Listed): DebPackage {
  const name = NAME.exec(stanza)?.[1] ?? ''
  const where = `package "${name}" of ${archive}`
  const fields = parseStanza(stanza, where)
  const sizeBytes = Number(requiredField(fields, 'Size', where))
  const filename = requiredField(fields, 'Filename', where)
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || !isPlainPath(filename))
    throw new BerthError('invalidArgument', `Cannot read ${where}: its Size or its Filename is none`)
  return {
    name,
    version: requiredField(fields, 'Version', where),
    isEssential: fields.get('essential') === 'yes',
    priority: fields.get('priority') ?? 'optional',
    preDepends: relation(fields, 'pre-depends', name),
    depends: relation(fields, 'depends', name),
    archive,
    filename,
    sizeBytes,
    digest: parseDigest(`sha256:${requiredField(fields, 'SHA256', where)}`),
  }
}

function relation(fields: Stanza, field: string, name: string): readonly Alternatives[] {
  return parseRelation(fields.get(field) ?? '', name)
}

/** It becomes part of a URL. */
function isPlainPath(path: string): boolean {
  return /^[A-Za-z0-9._+~:%-]+(?:\/[A-Za-z0-9._+~:%-]+)*$/.test(path) && !path.split('/').includes('..')
}

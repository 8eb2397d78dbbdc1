import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { BerthError, messageOf } from '../../lib/error.ts'
import { flag, map, object, type Shape, text, topOf } from '../../lib/json-shape.ts'

/** Where the signatures of a repository are. */
export interface SignaturePlaces {
  /** URL (file, http, https) of a tree of OpenPGP signatures; null: there is none. */
  readonly lookaside: string | null
  /** Whether sigstore's are looked for in the registry. */
  readonly useAttachments: boolean
}

interface WirePlaces {
  readonly lookaside?: string
  readonly sigstore?: string
  readonly 'use-sigstore-attachments'?: boolean
  readonly 'lookaside-staging'?: string
  readonly 'sigstore-staging'?: string
}

interface WireFile {
  readonly 'default-docker'?: WirePlaces
  readonly docker?: Readonly<Record<string, WirePlaces>>
}

const places: Shape<WirePlaces> = object<WirePlaces>({
  lookaside: text,
  sigstore: text,
  'use-sigstore-attachments': flag,
  // Where signatures are written to, which is asked of others.
  'lookaside-staging': text,
  'sigstore-staging': text,
})
const file: Shape<WireFile> = object<WireFile>({ 'default-docker': places, docker: map(places) })

const FILE_LIMIT_BYTES = 1024 * 1024

/**
 * Where signatures of images are, by the files `*.yaml` of a directory. Source: containers-registries.d(5). Scopes are those of policies,
 * and each property is that of the narrowest scope that has it.
 */
export class SignaturePlaceTable {
  readonly #fallback: readonly WirePlaces[]
  readonly #scopes: ReadonlyMap<string, WirePlaces>
  readonly #defaultLookaside: string

  private constructor(fallback: readonly WirePlaces[], scopes: ReadonlyMap<string, WirePlaces>, lookaside: string) {
    this.#fallback = fallback
    this.#scopes = scopes
    this.#defaultLookaside = lookaside
  }

  /**
   * @param defaultLookaside what holds where nothing is said
   * @throws {BerthError} invalidArgument: a file is damaged, or two say different things of one scope
   */
  static read(directory: string, defaultLookaside: string): SignaturePlaceTable {
    const fallback: WirePlaces[] = []
    const scopes = new Map<string, WirePlaces>()
    for (const name of yamlFiles(directory)) {
      const path = join(directory, name)
      const { 'default-docker': others, docker = {} } = readFile(path)
      if (others !== undefined) fallback.push(others)
      if (fallback.length > 1) throw twice(path, 'default-docker')
      for (const [scope, each] of Object.entries(docker)) {
        if (scopes.has(scope)) throw twice(path, `docker.${scope}`)
        scopes.set(scope, each)
      }
    }
    return new SignaturePlaceTable(fallback, scopes, defaultLookaside)
  }

  /** Of an image with these scopes, the narrowest first. */
  placesOf(scopes: readonly string[]): SignaturePlaces {
    const found = [...scopes.flatMap(scope => this.#scopes.get(scope) ?? []), ...this.#fallback]
    const lookaside = found.map(each => each.lookaside ?? each.sigstore).find(each => each !== undefined && each !== '')
    const useAttachments = found.map(each => each['use-sigstore-attachments']).find(each => each !== undefined)
    return { lookaside: lookaside ?? this.#defaultLookaside, useAttachments: useAttachments ?? false }
  }
}

function yamlFiles(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
      .filter(name => name.endsWith('.yaml'))
      .sort()
  } catch (error) {
    // Most machines say nothing of signatures.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

function readFile(path: string): WireFile {
  const content = readFileSync(path, 'utf8')
  if (content.length > FILE_LIMIT_BYTES)
    throw new BerthError('invalidArgument', `Cannot read "${path}": it is larger than ${FILE_LIMIT_BYTES} bytes`)
  let value: unknown
  try {
    value = Bun.YAML.parse(content)
  } catch (error) {
    throw new BerthError('invalidArgument', `Cannot parse ${path}: ${messageOf(error)}, expected YAML`, {
      cause: error,
    })
  }
  return value === null || value === undefined ? {} : file(value, topOf({ name: path, warnings: [] }))
}

function twice(path: string, what: string): BerthError {
  return new BerthError('invalidArgument', `Cannot use "${path}": ${what} is in another file of its directory too`)
}

/** Typed access to a profile's JSON that remembers where it is, for errors. */
import { BerthError } from '../lib/error.ts'

const UINT64_MAX = 0xffff_ffff_ffff_ffffn

/** One value of a profile. Every reading method throws `BerthError` invalidArgument naming the value's path. */
export class ProfileReader {
  readonly #value: unknown
  readonly #profile: string
  readonly #path: string

  /** `profile` names the file and `path` the place of `value` in it, empty at its top. */
  constructor(value: unknown, profile: string, path: string) {
    this.#value = value
    this.#profile = profile
    this.#path = path
  }

  /** The fields of an object. */
  get fields(): Readonly<Record<string, unknown>> {
    const value = this.#value
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.#unexpected('an object')
    return value as Readonly<Record<string, unknown>>
  }

  /** Refuses keys that are not `known`. */
  keys(known: readonly string[]): void {
    for (const key of Object.keys(this.fields)) {
      if (!known.includes(key)) throw this.error(`has unknown key "${key}", expected ${known.join(', ')}`)
    }
  }

  /** Whether the field is there; null counts as absent, as it does for dockerd. */
  has(key: string): boolean {
    const value = this.fields[key]
    return value !== undefined && value !== null
  }

  field(key: string): ProfileReader {
    return new ProfileReader(this.fields[key], this.#profile, this.#path === '' ? key : `${this.#path}.${key}`)
  }

  items<T>(read: (item: ProfileReader) => T): readonly T[] {
    if (!Array.isArray(this.#value)) throw this.#unexpected('a list')
    return this.#value.map((item, index) => read(new ProfileReader(item, this.#profile, `${this.#path}[${index}]`)))
  }

  text(): string {
    if (typeof this.#value !== 'string') throw this.#unexpected('text')
    return this.#value
  }

  texts(): readonly string[] {
    const value = this.#value
    if (Array.isArray(value) && value.every(item => typeof item === 'string')) return value
    throw this.#unexpected('a list of texts')
  }

  word<Word extends string>(words: readonly Word[]): Word {
    const found = words.find(word => word === this.#value)
    if (found === undefined) throw this.#unexpected(`one of ${words.join(', ')}`)
    return found
  }

  /** A whole number from 0 to `max`. */
  integer(max: number): number {
    const value = this.#value
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max) return value
    throw this.#unexpected(`a number from 0 to ${max}`)
  }

  uint64(): bigint {
    const value = this.#value
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return BigInt(value)
    if (typeof value === 'bigint' && value <= UINT64_MAX) return value
    throw this.#unexpected('a number from 0 to 18446744073709551615')
  }

  error(state: string): BerthError {
    const place = this.#path === '' ? 'it' : this.#path
    return new BerthError('invalidArgument', `Cannot read seccomp profile "${this.#profile}": ${place} ${state}`)
  }

  #unexpected(expected: string): BerthError {
    const value = this.#value
    const shown = typeof value === 'bigint' ? `${value}` : (JSON.stringify(value)?.slice(0, 60) ?? 'absent')
    return this.error(`is ${shown}, expected ${expected}`)
  }
}

/** `ociVersion`. Source: runtime-spec › Specification version; SemVer 2.0.0. */

import { BerthError } from '../lib/error.ts'
import type { Shape } from '../lib/json-shape.ts'
import { shapeError } from '../lib/json-shape.ts'
import { OCI_RUNTIME_SPEC_VERSION } from './runtime-spec.ts'

/** The lowest version whose configs are run; `features` reports it. */
export const OCI_VERSION_MIN = '1.0.0'

/** The highest version whose properties are all known; a later 1.x is compatible by the spec's promise. */
export const OCI_VERSION_MAX: string = OCI_RUNTIME_SPEC_VERSION

const SEMVER = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$/

/** A SemVer text of any version. What is run is decided by `checkOciVersion`. */
export const ociVersion: Shape<string> = (value, place) => {
  if (typeof value !== 'string' || !SEMVER.test(value)) throw shapeError(value, place, 'a SemVer version such as 1.3.0')
  return value
}

/**
 * Refuses a version of another major number and the release candidates of 1.0.0, whose form differed.
 * Returns a warning for a 1.x that is later than the one known here.
 * @throws {BerthError} invalidArgument.
 */
export function checkOciVersion(version: string): readonly string[] {
  const [, major, minor, patch, prerelease] = SEMVER.exec(version) ?? []
  const candidate = minor === '0' && patch === '0' && prerelease !== undefined
  if (major !== '1' || candidate) {
    throw new BerthError(
      'invalidArgument',
      `Cannot run config.json of ociVersion ${JSON.stringify(version)}: unsupported, expected ${OCI_VERSION_MIN} or a later 1.x`,
    )
  }
  const known = Number(OCI_VERSION_MAX.split('.')[1])
  if (Number(minor) <= known) return []
  return [
    `config.json has ociVersion ${version}, which is later than ${OCI_VERSION_MAX}: its newer properties are ignored`,
  ]
}

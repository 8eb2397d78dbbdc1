import { lstatSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { BerthError, messageOf } from '../lib/error.ts'
import { resourceWarnings } from '../linux/cgroup/resources.ts'
import type { RuntimeSpec } from '../oci/runtime-spec.ts'
import { parseRuntimeSpec } from '../oci/runtime-spec-parser.ts'
import { validateRuntimeSpec } from '../oci/runtime-validate.ts'

/** The longest config.json that is read: far more than the largest real ones (some 100 KB). */
const CONFIG_LIMIT_BYTES = 16 * 1024 * 1024

/** A bundle on disk, read and checked. */
export interface Bundle {
  /** Absolute, without links. */
  readonly path: string
  readonly spec: RuntimeSpec
  /** The text of config.json. */
  readonly configText: string
  /** Absolute path of the root filesystem: a directory, not a link. */
  readonly root: string
  readonly warnings: readonly string[]
}

/**
 * Reads a bundle's config.json and checks it.
 * @throws {BerthError} notFound; invalidArgument: malformed, contradictory, or without a root filesystem
 */
export function readBundle(path: string): Bundle {
  const bundle = resolveBundle(path)
  const file = join(bundle, 'config.json')
  const configText = readConfig(file)
  const { value: spec, warnings } = parseRuntimeSpec(configText)
  const found = [...validateRuntimeSpec(spec), ...resourceWarnings(spec.linux?.resources ?? {})]
  return { path: bundle, spec, configText, root: rootOf(spec, bundle), warnings: [...warnings, ...found] }
}

function resolveBundle(path: string): string {
  try {
    return realpathSync(path)
  } catch (error) {
    throw new BerthError('notFound', `Cannot open bundle "${path}": ${messageOf(error)}`, { cause: error })
  }
}

function readConfig(file: string): string {
  const stat = statSync(file, { throwIfNoEntry: false })
  if (stat === undefined) throw new BerthError('notFound', `Cannot read "${file}": it does not exist`)
  // A directory can't be read, and a pipe would make us wait for ever.
  if (!stat.isFile()) throw new BerthError('invalidArgument', `Cannot read "${file}": it is not a regular file`)
  if (stat.size > CONFIG_LIMIT_BYTES)
    throw new BerthError(
      'invalidArgument',
      `Cannot read "${file}": it has ${stat.size} bytes, expected at most ${CONFIG_LIMIT_BYTES}`,
    )
  return readFileSync(file, 'utf8')
}

function rootOf(spec: RuntimeSpec, bundle: string): string {
  const path = spec.root?.path
  if (path === undefined || path === '')
    throw new BerthError('invalidArgument', 'Cannot create the container: config.json has no root.path')
  const absolute = isAbsolute(path) ? path : join(bundle, path)
  const stat = lstatSync(absolute, { throwIfNoEntry: false })
  if (stat === undefined)
    throw new BerthError('notFound', `Cannot use root filesystem "${absolute}": it does not exist`)
  if (stat.isSymbolicLink())
    throw new BerthError(
      'invalidArgument',
      `Cannot use root filesystem "${absolute}": it is a symbolic link, expected a directory`,
    )
  if (!stat.isDirectory())
    throw new BerthError('invalidArgument', `Cannot use root filesystem "${absolute}": it is not a directory`)
  return absolute
}

/**
 * config.json → `RuntimeSpec`. Checks the form only, as the schema does; whether the parts fit together is judged by
 * `runtime-validate.ts`. Unknown properties are left out and named in the warnings: the spec forbids an error for them
 * (config.md › Extensibility) and allows to log them.
 */

import {
  flag,
  integer,
  list,
  map,
  object,
  type Parsed,
  parseJson,
  required,
  type Shape,
  text,
  texts,
} from '../lib/json-shape.ts'
import { ociVersion } from './oci-version.ts'
import type { Hook, Hooks, Mount, Root, RuntimeSpec } from './runtime-spec.ts'
import { idMappings, linuxShape } from './runtime-spec-linux-parser.ts'
import { freebsdShape, solarisShape, vmShape, windowsShape, zosShape } from './runtime-spec-platforms-parser.ts'
import { processShape } from './runtime-spec-process-parser.ts'

const hooks: Shape<readonly Hook[]> = list(
  object<Hook>({
    path: required(text),
    args: texts,
    env: texts,
    timeout: integer(1, Number.MAX_SAFE_INTEGER),
  }),
)

const runtimeSpecShape: Shape<RuntimeSpec> = object<RuntimeSpec>({
  ociVersion: required(ociVersion),
  process: processShape,
  root: object<Root>({ path: required(text), readonly: flag }),
  hostname: text,
  domainname: text,
  mounts: list(
    object<Mount>({
      destination: required(text),
      type: text,
      source: text,
      options: texts,
      uidMappings: idMappings,
      gidMappings: idMappings,
    }),
  ),
  hooks: object<Hooks>({
    prestart: hooks,
    createRuntime: hooks,
    createContainer: hooks,
    startContainer: hooks,
    poststart: hooks,
    poststop: hooks,
  }),
  annotations: map(text),
  linux: linuxShape,
  solaris: solarisShape,
  windows: windowsShape,
  vm: vmShape,
  zos: zosShape,
  freebsd: freebsdShape,
})

/**
 * Parses config.json. `name` is what errors call it.
 * @throws {BerthError} invalidArgument, naming the path of what is wrong, such as `linux.resources.pids.limit`.
 */
export function parseRuntimeSpec(json: string, name = 'config.json'): Parsed<RuntimeSpec> {
  return parseJson(json, name, runtimeSpecShape)
}

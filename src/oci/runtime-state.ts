/** The state of a container as the spec defines it and as runc prints it. Source: runtime-spec, runtime.md › State. */

import { formatJson, integer, map, object, oneOf, parseJson, required, type Shape, text } from '../lib/json-shape.ts'
import { OCI_RUNTIME_SPEC_VERSION } from './runtime-spec.ts'

/** The statuses of the spec. */
export const STATUSES = ['creating', 'created', 'running', 'stopped'] as const

/** A status of the spec, or `paused`, which runc adds. */
export type Status = (typeof STATUSES)[number] | 'paused'

/** What hooks read on their standard input. */
export interface RuntimeState {
  readonly ociVersion: string
  readonly id: string
  readonly status: Status
  /** Of the container's process, as the runtime sees it; absent while there is none. */
  readonly pid?: number
  /** Absolute path. */
  readonly bundle: string
  readonly annotations?: Readonly<Record<string, string>>
}

/** What `state` prints and `list --format json` prints one of per container: runc's form. */
export interface ContainerState extends RuntimeState {
  /** 0 when stopped. */
  readonly pid: number
  readonly rootfs: string
  /** RFC 3339. */
  readonly created: string
  /** User name of the one who made it, or its id. */
  readonly owner: string
}

const stateShape: Shape<RuntimeState> = object<RuntimeState>({
  ociVersion: required(text),
  id: required(text),
  status: required(oneOf(STATUSES)),
  pid: integer(0, Number.MAX_SAFE_INTEGER),
  bundle: required(text),
  annotations: map(text),
})

/**
 * Parses a state document of the spec.
 * @throws {BerthError} invalidArgument, naming the path of what is wrong.
 */
export function parseRuntimeState(json: string): RuntimeState {
  return parseJson(json, 'state', stateShape).value
}

/** The text of `state`, indented by two blanks, in runc's order, ended by a newline. */
export function formatContainerState(state: ContainerState): string {
  const { ociVersion, id, pid, status, bundle, rootfs, created, annotations, owner } = state
  const ordered = { ociVersion, id, pid, status, bundle, rootfs, created, annotations, owner }
  return `${formatJson(ordered, '  ')}\n`
}

/** A JSON text around a pid that is known only after the process has been made: the whole is before + pid + after. */
export interface TextAroundPid {
  readonly before: string
  readonly after: string
}

/** What a state is without its pid. */
export type StateWithoutPid = Omit<RuntimeState, 'ociVersion' | 'pid'>

/** The state that a hook of a container without a pid yet will read. */
export function stateAroundPid(state: StateWithoutPid): TextAroundPid {
  const { id, status, bundle, annotations } = state
  const before = formatJson({ ociVersion: OCI_RUNTIME_SPEC_VERSION, id, status })
  const after = formatJson({ bundle, annotations })
  return { before: `${before.slice(0, -1)},"pid":`, after: `,${after.slice(1)}` }
}

/**
 * The container process state that goes to a seccomp agent beside the listener's fd; the pid is the process's that
 * the filter is of, which for `exec` is not the container's. Source: config-linux.md › The Container Process State.
 */
export function seccompStateAroundPid(state: Omit<RuntimeState, 'ociVersion'>, metadata: string): TextAroundPid {
  const { id, status, pid, bundle, annotations } = state
  const inner = { ociVersion: OCI_RUNTIME_SPEC_VERSION, id, status, pid, bundle, annotations }
  const before = formatJson({ ociVersion: OCI_RUNTIME_SPEC_VERSION, fds: ['seccompFd'] })
  const after = formatJson({ ...(metadata === '' ? {} : { metadata }), state: inner })
  return { before: `${before.slice(0, -1)},"pid":`, after: `,${after.slice(1)}` }
}

/** The state of a container as the spec defines it and as runc prints it. Source: runtime-spec, runtime.md › State. */

import { formatJson, integer, map, object, oneOf, parseJson, required, type Shape, text } from '../lib/json-shape.ts'

/** The statuses of the spec. */
const STATUSES = ['creating', 'created', 'running', 'stopped'] as const

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
  /** Absolute path of its root filesystem. */
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

/**
 * Stands for a pid that is known only once the process has been made; berth-init puts the decimal digits in its place.
 * JSON text never holds this byte unescaped, so that nothing of the config can pass for it.
 */
const PID_PLACE = '\u0001'

/** The state that a hook of a container without a pid yet reads, with a place for the pid. */
export function stateTemplate(state: Omit<RuntimeState, 'pid'>): string {
  const { ociVersion, id, status, bundle, annotations } = state
  return withPlace({ ociVersion, id, status, pid: 0, bundle, annotations })
}

/**
 * What goes to a seccomp agent beside the listener's fd, with places for the pid of the process that the filter is of.
 * Source: config-linux.md › The Container Process State.
 */
export function processStateTemplate(state: Omit<RuntimeState, 'pid'>, metadata: string): string {
  const { ociVersion } = state
  const outer = { ociVersion, fds: ['seccompFd'], pid: 0, ...(metadata !== '' && { metadata }) }
  return `${withPlace(outer).slice(0, -1)},"state":${stateTemplate(state)}}`
}

/** The first `"pid":0` is the property: a quote within a text would be escaped. */
function withPlace(state: Readonly<Record<string, unknown>>): string {
  return formatJson(state).replace('"pid":0', `"pid":${PID_PLACE}`)
}

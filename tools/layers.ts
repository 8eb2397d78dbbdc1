/**
 * The layers of `src`, lowest first. A folder may import itself and the folders before it; any other edge is a failure
 * of test/structure, types included. A new folder needs a row here, with the reason why it stands where it stands.
 */

/** One folder of `src`. */
export interface Layer {
  readonly folder: string
  /** No effects: data in, data out, testable anywhere. Its files may not import what touches the machine. */
  readonly pure: boolean
  /** Why it stands here: what it must not know. */
  readonly reason: string
}

export const LAYERS: readonly Layer[] = [
  { folder: 'lib', pure: true, reason: 'knows nothing of containers or Linux; could be published alone' },
  { folder: 'linux', pure: true, reason: "the kernel's constants and formats; the kernel knows no containers either" },
  {
    folder: 'oci',
    pure: true,
    reason: 'the formats of the three specifications; they name kernel things, never steps',
  },
  { folder: 'plan', pure: true, reason: 'steps and their bytes; what executes them is above' },
  { folder: 'host', pure: false, reason: 'the one door to Linux: executes plans, reads /proc and cgroupfs' },
  { folder: 'content', pure: false, reason: 'blobs by digest; does not know where they come from' },
  { folder: 'registry', pure: false, reason: 'fetches into and pushes from content; does not know images' },
  { folder: 'snapshot', pure: false, reason: 'root filesystems from layers; does not know containers' },
  { folder: 'network', pure: false, reason: 'links, addresses and rules of a namespace; does not know whose it is' },
  { folder: 'volume', pure: false, reason: 'directories that outlive containers; does not know who mounts them' },
  { folder: 'security', pure: false, reason: 'profiles, id ranges, policy: consulted by what composes containers' },
  { folder: 'runtime', pure: false, reason: 'the runtime-spec: one bundle, one container; does not know images' },
  { folder: 'image', pure: false, reason: 'pull, push, unpack: joins registry, content and snapshot' },
  { folder: 'build', pure: false, reason: 'makes images by running steps, so it needs runtime and image' },
  { folder: 'engine', pure: false, reason: 'use cases, locks and undo; does not know how it was asked' },
  { folder: 'api', pure: false, reason: "the Docker Engine API: the engine's use cases as HTTP" },
  { folder: 'cri', pure: false, reason: "the Kubernetes runtime interface: the engine's use cases as gRPC" },
  { folder: 'compose', pure: false, reason: 'projects of containers; asks the API like any client' },
  { folder: 'daemon', pure: false, reason: 'the composition root: the only place that names concrete classes of all' },
  { folder: 'cli', pure: false, reason: 'commands; may start a daemon, nothing may import it' },
  { folder: 'web', pure: false, reason: 'the dashboard: a client of the API' },
]

/** What a file of a pure layer may not import: each of these reaches the machine. */
export const EFFECTFUL_MODULES: readonly string[] = [
  'bun',
  'bun:ffi',
  'bun:sqlite',
  'node:child_process',
  'node:cluster',
  'node:dgram',
  'node:dns',
  'node:fs',
  'node:fs/promises',
  'node:http',
  'node:http2',
  'node:https',
  'node:net',
  'node:os',
  'node:process',
  'node:tls',
  'node:worker_threads',
]

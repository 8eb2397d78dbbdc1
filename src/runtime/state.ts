import { OCI_RUNTIME_SPEC_VERSION } from '../oci/runtime-spec.ts'
import { type FoundContainer, findContainer } from './container-state.ts'
import type { RuntimeOptions } from './runtime-options.ts'

/** What `state` prints: the spec's state document and what runc adds to it. */
export interface StateDocument {
  readonly ociVersion: string
  readonly id: string
  /** 0 when the container is stopped. */
  readonly pid: number
  readonly status: string
  readonly bundle: string
  readonly rootfs: string
  /** RFC 3339. */
  readonly created: string
  readonly owner: string
  readonly annotations?: Readonly<Record<string, string>>
}

/** The `state` of the runtime-spec. */
export function containerState(id: string, options: RuntimeOptions): StateDocument {
  return stateDocument(findContainer(options.root, id))
}

/** The state document of a container. */
export function stateDocument({ directory, record, status }: FoundContainer): StateDocument {
  const spec = directory.spec()
  return {
    ociVersion: spec.ociVersion ?? OCI_RUNTIME_SPEC_VERSION,
    id: record.id,
    pid: status === 'stopped' ? 0 : record.process.pid,
    status,
    bundle: record.bundle,
    rootfs: record.root,
    created: record.created,
    owner: record.ownerName,
    ...(spec.annotations !== undefined && { annotations: spec.annotations }),
  }
}

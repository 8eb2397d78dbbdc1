import { OCI_RUNTIME_SPEC_VERSION } from '../oci/runtime-spec.ts'
import type { ContainerState } from '../oci/runtime-state.ts'
import { type FoundContainer, findContainer } from './container-state.ts'
import type { RuntimeOptions } from './runtime-options.ts'

/** The `state` of the runtime-spec. */
export function containerState(id: string, options: RuntimeOptions): ContainerState {
  return stateDocument(findContainer(options.root, id))
}

/** The state document of a container. */
export function stateDocument({ directory, record, status }: FoundContainer): ContainerState {
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

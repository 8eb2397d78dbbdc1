import { compileSeccomp } from '../linux/seccomp/compile-seccomp.ts'
import type { RuntimeSpec } from '../oci/runtime-spec.ts'
import { processStateTemplate } from '../oci/runtime-state.ts'
import type { SeccompFilter } from './compose-credentials.ts'

const NATIVE_ARCH = process.arch === 'arm64' ? 'aarch64' : 'x86_64'

/** Compiles the config's seccomp section; null when it has none. See `compileSeccomp` for what it throws. */
export function seccompFilter(
  input: { id: string; spec: RuntimeSpec; bundle: string },
  debug?: (message: string) => void,
): SeccompFilter | null {
  const config = input.spec.linux?.seccomp
  if (config === undefined) return null
  const { program, flags, needsListener, unknownSyscalls, shadowedSyscalls } = compileSeccomp(config, {
    nativeArch: NATIVE_ARCH,
  })
  if (unknownSyscalls.length > 0) debug?.(`linux.seccomp: no such system calls here: ${unknownSyscalls.join(' ')}`)
  if (shadowedSyscalls.length > 0)
    debug?.(`linux.seccomp: rules that another rule for the same call makes void: ${shadowedSyscalls.join(' ')}`)
  const socket = config.listenerPath
  if (!needsListener || socket === undefined) return { program, flags, listener: null }
  const { ociVersion, annotations } = input.spec
  const state = {
    ociVersion,
    id: input.id,
    status: 'creating',
    bundle: input.bundle,
    ...(annotations && { annotations }),
  } as const
  return { program, flags, listener: { socket, message: processStateTemplate(state, config.listenerMetadata ?? '') } }
}

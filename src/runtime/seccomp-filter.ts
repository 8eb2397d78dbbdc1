import { compileSeccomp } from '../linux/seccomp/compile-seccomp.ts'
import type { RuntimeSpec } from '../oci/runtime-spec.ts'
import type { SeccompFilter } from './compose-credentials.ts'
import { stateTemplate } from './compose-hooks.ts'

const NATIVE_ARCH = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
/** berth-init puts the decimal process id in the place of this byte. */
const PID = '\u0001'

/** Compiles the config's seccomp section; null when it has none. See `compileSeccomp` for what it throws. */
export function seccompFilter(input: { id: string; spec: RuntimeSpec; bundle: string }): SeccompFilter | null {
  const config = input.spec.linux?.seccomp
  if (config === undefined) return null
  const { program, flags, needsListener } = compileSeccomp(config, { nativeArch: NATIVE_ARCH })
  const socket = config.listenerPath
  if (!needsListener || socket === undefined) return { program, flags, listener: null }
  return { program, flags, listener: { socket, message: containerProcessState(input, config.listenerMetadata) } }
}

/** Source: runtime-spec › The Container Process State. */
function containerProcessState(
  input: { id: string; spec: RuntimeSpec; bundle: string },
  metadata: string | undefined,
): string {
  const head = JSON.stringify({
    ociVersion: input.spec.ociVersion,
    fds: ['seccompFd'],
    pid: 0,
    ...(metadata && { metadata }),
  })
  return `${head.replace('"pid":0', `"pid":${PID}`).slice(0, -1)},"state":${stateTemplate(input, 'creating')}}`
}

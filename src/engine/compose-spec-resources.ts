import type { LinuxResources } from '../linux/cgroup/resources.ts'
import { CONTAINER_DEFAULTS } from '../security/defaults.ts'
import type { SpecInput } from './spec-input.ts'

const CPU_PERIOD_MICROSECONDS = 100_000n
const UNLIMITED = -1n

/** `-m`, `--cpus` and their like as the runtime's resources. */
export function composeResources({ options, devices, rootless, cgroupsPath }: SpecInput): LinuxResources {
  const { resources, privileged } = options
  const { memoryBytes, memorySwapBytes, memoryReservationBytes } = resources
  const pids = resources.pidsLimit ?? BigInt(CONTAINER_DEFAULTS.pidsLimit)
  return {
    ...(!rootless && {
      devices: privileged
        ? [{ allow: true, access: 'rwm' }]
        : [
            { allow: false, access: 'rwm' },
            ...devices.map(({ type, major, minor, access }) => ({ allow: true, type, major, minor, access })),
          ],
    }),
    ...((cgroupsPath !== null || resources.pidsLimit !== undefined) && {
      pids: { limit: pids === 0n ? UNLIMITED : pids },
    }),
    memory: {
      ...(memoryBytes !== undefined && { limit: memoryBytes }),
      ...(memorySwapBytes !== undefined && { swap: memorySwapBytes }),
      ...(memoryReservationBytes !== undefined && { reservation: memoryReservationBytes }),
    },
    cpu: {
      ...(resources.cpus !== undefined && {
        period: CPU_PERIOD_MICROSECONDS,
        quota: BigInt(Math.round(resources.cpus * Number(CPU_PERIOD_MICROSECONDS))),
      }),
      ...(resources.cpuShares !== undefined && { shares: resources.cpuShares }),
      ...(resources.cpusetCpus !== undefined && { cpus: resources.cpusetCpus }),
      ...(resources.cpusetMems !== undefined && { mems: resources.cpusetMems }),
    },
    ...(resources.blkioWeight !== undefined && { blockIO: { weight: resources.blkioWeight } }),
  }
}

/** What takes CAP_SYS_RESOURCE and CAP_SYS_NICE of the host: limits above the caller's own, and better treatment. */

import { expect } from 'bun:test'
import type { RuntimeSpec } from '../../src/oci/runtime-spec.ts'
import { Machine } from '../runtime/verbs-machine.ts'
import { testIf } from '../support/requirement.ts'
import { berth, kernelFile } from './berth.ts'

const inVm = testIf('vm', 'CAP_SYS_RESOURCE')
const IDS = [{ containerID: 0, hostID: 1_000_000, size: 1000 }]

function favoured(spec: RuntimeSpec): RuntimeSpec {
  return {
    ...spec,
    process: {
      cwd: '/',
      ...spec.process,
      rlimits: [
        { type: 'RLIMIT_NOFILE', soft: 600_000n, hard: 700_000n },
        { type: 'RLIMIT_MEMLOCK', soft: 1n << 30n, hard: 1n << 30n },
        { type: 'RLIMIT_CORE', soft: 0n, hard: 0n },
      ],
      oomScoreAdj: -500,
      scheduler: { policy: 'SCHED_FIFO', priority: 7 },
      ioPriority: { class: 'IOPRIO_CLASS_RT', priority: 3 },
    },
    linux: {
      ...spec.linux,
      namespaces: [...(spec.linux?.namespaces ?? []), { type: 'user' }],
      uidMappings: IDS,
      gidMappings: IDS,
    },
  }
}

inVm(
  'a container in a user namespace gets limits above the host’s, a low OOM score and real-time scheduling',
  async () => {
    await using machine = new Machine()
    const id = await machine.container('favoured', favoured)
    const pid: number = JSON.parse((await machine.run(['state', id])).stdout).pid
    const limits = kernelFile('/proc', String(pid), 'limits')
    expect(limits).toMatch(/^Max open files +600000 +700000 /m)
    expect(limits).toMatch(/^Max locked memory +1073741824 +1073741824 /m)
    expect(limits).toMatch(/^Max core file size +0 +0 /m)
    expect(kernelFile('/proc', String(pid), 'oom_score_adj')).toBe('-500')
    // Fields 40 and 41 of proc_pid_stat(5): rt_priority and policy (1: SCHED_FIFO). The name has no space.
    expect(kernelFile('/proc', String(pid), 'stat').split(' ').slice(39, 41)).toEqual(['7', '1'])
  },
)

inVm('berth run gives 1024 to 524288 open files whatever its own limit is, and --ulimit more', async () => {
  const { stdout } = await berth('run', '--rm', 'host', 'sh', '-c', 'ulimit -Sn; ulimit -Hn')
  expect(stdout).toBe('1024\n524288\n')
  const more = await berth(
    'run',
    '--rm',
    '--ulimit',
    'nofile=2000:600000',
    '--oom-score-adj',
    '-100',
    'host',
    'sh',
    '-c',
    'ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj',
  )
  expect(more.stdout).toBe('2000\n600000\n-100\n')
})

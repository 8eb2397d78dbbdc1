/** What a used-up limit on processes leads to: one error that says so, and nothing left, wherever it is hit. */

import { expect } from 'bun:test'
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { testIf } from '../support/requirement.ts'
import { Machine } from './berth-cli.ts'

const PIDS = '/sys/fs/cgroup/pids'
/** From too few for berth-init, over too few for the container, to enough. */
const LIMITS = Array.from({ length: 8 }, (_, index) => 3 + index)
/** What makes Bun's threads as few as in the compiled program, and the same number in every run. */
const FEW_THREADS = ['BUN_JSC_useJIT=0', 'BUN_JSC_useConcurrentGC=0', 'BUN_JSC_numberOfGCMarkers=1']

testIf('root', 'cgroup v1')(
  'a limit on processes that is used up is one error, and leaves nothing',
  async () => {
    using machine = new Machine()
    machine.configure()
    const cgroup = `${PIDS}/berth-test-limit-${process.pid}`
    mkdirSync(cgroup)
    try {
      const said: string[] = []
      for (const limit of LIMITS) {
        writeFileSync(`${cgroup}/pids.max`, String(limit))
        const enter = ['env', ...FEW_THREADS, 'sh', '-c', `echo $$ > ${cgroup}/cgroup.procs && exec "$@"`, 'sh']
        const { status, stderr } = await machine.runBundle(machine.id, enter)
        if (status === 0) continue
        // Without its threads Bun aborts, before any code of ours or in the middle of it: as if it were killed.
        const aborted = stderr.includes('Bun has crashed')
        if (aborted) await machine.run(['delete', '--force', machine.id])
        expect(machine.leftovers()).toEqual([])
        if (aborted) continue
        said.push(stderr)
        expect(stderr).toMatch(/^berth: Cannot [^\n]*(EAGAIN|temporarily unavailable)[^\n]*\n$/)
      }
      expect(said.some(text => text.includes('the limit on processes'))).toBe(true)
    } finally {
      rmdirSync(cgroup)
    }
  },
  60_000,
)

import { mkdirSync, rmdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { errnoOf, writeCgroupFile } from '../../src/host/cgroup/cgroup-file.ts'
import { errnoNumber } from '../../src/lib/errno-name.ts'
import type { Step } from '../../src/plan/step.ts'

/**
 * Executes the steps that make a cgroup as berth-init would, but in this process: they need no privilege that Bun can't
 * use. `bpf_device` goes to `filter`.
 */
export async function executeSteps(
  steps: readonly Step[],
  filter: (program: Uint8Array) => Promise<void> = async () => {},
): Promise<void> {
  for (let i = 0; i < steps.length; i++) {
    const each = steps[i]
    if (each === undefined) return
    try {
      await execute(each, filter)
      i += each.skipOnSuccess ?? 0
    } catch (error) {
      const errno = errnoOf(error) || errnoOf(error instanceof Error ? error.cause : undefined)
      const tolerated = each.tolerate === 'all' || each.tolerate?.includes(errnoNumber(errno) ?? 0)
      if (!tolerated) throw error
      i += each.skipOnFailure ?? 0
    }
  }
}

async function execute(each: Step, filter: (program: Uint8Array) => Promise<void>): Promise<void> {
  if (each.op === 'mkdir') mkdirSync(each.args.path, Number(each.args.mode))
  else if (each.op === 'unlink') rmdirSync(each.args.path)
  else if (each.op === 'write') {
    writeCgroupFile(
      dirname(each.args.path),
      each.args.path.slice(dirname(each.args.path).length + 1),
      String(each.args.data),
    )
  } else if (each.op === 'bpf_device' && each.args.program instanceof Uint8Array) await filter(each.args.program)
  else if (each.op !== 'open') throw new Error(`unexpected step ${each.op}`)
}

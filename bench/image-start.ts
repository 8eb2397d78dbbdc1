/** Starting a container of a pulled image, beside podman and Docker where they work. */
import type { ImageBench } from './image-bench.ts'
import { turnsTable } from './image-tables.ts'
import { type Contender, type Effort, measure, type Sample } from './measure.ts'
import { runScript } from './timed-turns.ts'

const PULL_LIMIT_MS = 120_000
const TRIAL_LIMIT_MS = 30_000
const RUNS = 4

/** The times, and who has none. */
export interface StartResult {
  readonly samples: readonly Sample[]
  readonly refusals: readonly string[]
}

/** Pulls the image `base` with each engine and runs /bin/true in it. */
export async function measureStarts(bench: ImageBench, rounds: number): Promise<StartResult> {
  await bench.image('base')
  const candidates = candidatesOf(bench)
  const contenders: Contender[] = []
  const refusals: string[] = []
  for (const { name, command, pull } of candidates) {
    try {
      await runScript(pull, PULL_LIMIT_MS)
      await runScript(command, TRIAL_LIMIT_MS)
      contenders.push({ name, command })
    } catch (error) {
      refusals.push(`${name}: ${error instanceof Error ? error.message : error}`)
    }
  }
  console.error(`bench: ${contenders.map(({ name }) => name).join(', ')}`)
  const effort: Effort = { rounds, runs: RUNS }
  const samples = measure(contenders, effort, bench.directory)
  for (const { clean } of candidates) await runScript(clean, PULL_LIMIT_MS)
  return { samples, refusals }
}

interface Candidate {
  readonly name: string
  readonly command: string
  readonly pull: string
  readonly clean: string
}

function candidatesOf(bench: ImageBench): readonly Candidate[] {
  const reference = bench.reference('base')
  const place = bench.place('start')
  const berth = `${bench.berth} --root ${place}-berth --run-root ${place}-run`
  const podman = `podman --root ${place}-podman --runroot ${place}-podman-run --runtime runc --cgroup-manager cgroupfs`
  // Limits that podman would raise, which a root without CAP_SYS_RESOURCE may not.
  const limits = '--ulimit nofile=1024:1024 --ulimit nproc=1000:1000'
  const run = '--rm --network none'
  const all: (Candidate | null)[] = [
    {
      name: 'berth run --rm IMAGE true',
      pull: `${berth} pull -q ${reference}`,
      command: `${berth} run ${run} ${reference} /bin/true`,
      clean: `rm -rf ${place}-berth ${place}-run`,
    },
    {
      name: 'berth run --rm host true',
      pull: ':',
      command: `${berth} run ${run} host /bin/true`,
      clean: ':',
    },
    {
      name: 'podman run --rm IMAGE true',
      pull: `${podman} pull -q --tls-verify=false ${reference}`,
      command: `${podman} run ${run} ${limits} ${reference} /bin/true`,
      // Its storage is mounted on itself.
      clean: `${podman} system reset --force || :; umount -l ${place}-podman/overlay 2>/dev/null || :; rm -rf ${place}-podman ${place}-podman-run`,
    },
    bench.docker === null
      ? null
      : {
          name: 'docker run --rm IMAGE true',
          pull: `${bench.docker} pull -q ${reference}`,
          command: `env ${bench.docker} run ${run} ${reference} /bin/true`,
          clean: ':',
        },
  ]
  return all.filter(each => each !== null)
}

/** The section of the report. */
export function startSection({ samples, refusals }: StartResult): string {
  return `A container of the pulled image \`base\`, without network; Docker’s client asks a daemon that runs.\n\n${turnsTable({ samples, refusals }, 'podman run --rm IMAGE true')}`
}

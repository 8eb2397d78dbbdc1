/** Pulling: from a registry on loopback to unpacked layers, beside Docker, skopeo with umoci, and curl with tar. */
import type { BenchImage, BenchImageName } from './bench-image.ts'
import type { ImageBench } from './image-bench.ts'
import { imageFacts, ratioRow, turnsTable } from './image-tables.ts'
import { allAtOnce, type TimedTurns, type Turn, timeTurns } from './timed-turns.ts'

const TARGET = { tar: 1.3, docker: 0.5, umoci: 0.5 }
const TAR = 'curl \\| zcat \\| tar -x, all layers at once'
const UMOCI = 'skopeo copy, umoci unpack'
const DOCKER = 'docker pull'
const STORED = {
  memory: 'in memory, on a tmpfs, so that the programs are compared and not the disk',
  disk: 'on ext4 with a journal, in a file on the disk of this machine; what contenders before have written is on the disk when one begins, and the registry’s blobs are in the page cache',
}
const ROUNDS = 5
const RUN_LIMIT_MS = 120_000

/** The times of one image. */
export interface PullResult {
  readonly image: BenchImage
  readonly timed: TimedTurns
}

/** Where images, stores and the registry are. In memory the programs are compared; on the disk also what they leave to it. */
export type Medium = 'memory' | 'disk'

/** Measures some of the images, about so long each. */
export async function measurePulls(
  bench: ImageBench,
  names: readonly BenchImageName[],
  budgetMs: number,
): Promise<readonly PullResult[]> {
  const results: PullResult[] = []
  for (const name of names) {
    const image = await bench.image(name)
    console.error(`bench: pull ${name}`)
    const limits = { rounds: ROUNDS, budgetMs, runMs: RUN_LIMIT_MS }
    results.push({ image, timed: await timeTurns(pullTurns(bench, image), limits) })
  }
  return results
}

function pullTurns(bench: ImageBench, image: BenchImage): readonly Turn[] {
  const reference = bench.reference(image.name)
  const place = bench.place('pull')
  // What earlier ones have left to be written to the disk is nothing of this one.
  const prepare = `rm -rf ${place}; mkdir ${place}; sync -f ${place}`
  const { docker } = bench
  const copy = `skopeo copy -q --insecure-policy --src-tls-verify=false docker://${reference} oci:${place}/oci:bench`
  const berth = `${bench.berth} --root ${place}/root --run-root ${place}/run pull -q ${reference}`
  return [
    { name: 'berth pull', command: berth, prepare },
    { name: TAR, command: tarScript(bench, image, place), prepare },
    ...(docker === null
      ? []
      : [
          {
            name: DOCKER,
            command: `${docker} pull -q ${reference}`,
            prepare: `${docker} rmi -f ${reference} 2>/dev/null || :; ${prepare}`,
          },
        ]),
    { name: UMOCI, command: `${copy}; umoci unpack --image ${place}/oci:bench ${place}/bundle`, prepare },
  ]
}

function tarScript({ registry }: ImageBench, { name, layers }: BenchImage, place: string): string {
  const one = ({ digest }: BenchImage['layers'][number], index: number): string =>
    `mkdir ${place}/${index}; curl -sf http://${registry.host}/v2/${name}/blobs/${digest} | zcat | tar -x --numeric-owner -p -C ${place}/${index} -f -`
  return allAtOnce(layers.map(one))
}

/** The section of the report. */
export function pullSection(results: readonly PullResult[], medium: Medium, dockerRefusal: string | null): string {
  const tables = results.map(
    ({ image, timed }) => `### ${image.name}\n\n${imageFacts(image)}.\n\n${turnsTable(timed, TAR)}`,
  )
  return [
    `From \`docker-registry\` on loopback into an empty store ${STORED[medium]}. Berth and Docker also verify and keep the blobs’ digests and metadata; only Berth waits until blobs are on the disk. tar verifies and keeps nothing.`,
    ...(dockerRefusal === null ? [] : [`Docker is not in the tables: ${dockerRefusal}`]),
    ...tables,
  ].join('\n\n')
}

/** The rows of the summary. */
export function pullRows(results: readonly PullResult[], medium: Medium): readonly string[] {
  const what = medium === 'disk' ? 'pull onto a disk of' : 'pull of'
  return results.flatMap(({ image, timed }) => [
    ...ratioRow(`${what} ${image.name} ÷ \`${TAR}\``, timed, 'berth pull', TAR, TARGET.tar),
    ...ratioRow(`${what} ${image.name} ÷ \`${DOCKER}\``, timed, 'berth pull', DOCKER, TARGET.docker),
    ...ratioRow(`${what} ${image.name} ÷ ${UMOCI}`, timed, 'berth pull', UMOCI, TARGET.umoci),
  ])
}

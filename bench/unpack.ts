/** Unpacking layers, from blobs on the disk to directories, beside `zcat | tar -x` and umoci. */
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { BenchImage, BenchImageName } from './bench-image.ts'
import type { ImageBench } from './image-bench.ts'
import { imageFacts, ratioRow, turnsTable } from './image-tables.ts'
import { allAtOnce, type TimedTurns, type Turn, timeTurns } from './timed-turns.ts'

const TARGET = { tar: 1.3, umoci: 0.5 }
const IMAGES: readonly BenchImageName[] = ['base', '30-layers', '50k-files', '1-gb']
const TAR = 'zcat \\| tar -x, all layers at once'
const UMOCI = 'umoci unpack'
/** The budget is for one image: four of them, and their making, stay within three minutes. */
const LIMITS = { rounds: 5, budgetMs: 25_000, runMs: 60_000 }

/** The samples of one image: Berth, tar, and umoci if it is there. */
export interface UnpackResult {
  readonly image: BenchImage
  readonly timed: TimedTurns
}

/**
 * Measures all images. The results go to `memory`, a directory on a tmpfs: what is compared is the programs, and a disk
 * would add the same to each, with more noise than they differ by.
 */
export async function measureUnpack(root: string, bench: ImageBench, memory: string): Promise<readonly UnpackResult[]> {
  const program = compile(root, bench.directory)
  const results: UnpackResult[] = []
  for (const name of IMAGES) {
    const image = await bench.image(name)
    console.error(`bench: unpack ${name}`)
    const out = join(memory, 'out')
    results.push({ image, timed: await timeTurns(turnsFor(image, program, out), LIMITS) })
    rmSync(out, { recursive: true, force: true })
  }
  return results
}

/** As tools/build compiles `berth`, with the berth-init of that build beside it. */
function compile(root: string, directory: string): string {
  const program = join(directory, 'unpack-layers')
  const options = ['--compile', '--minify', '--bytecode', '--format=esm', '--splitting', '--compile-jit-policy=1000']
  const source = join(root, 'bench/unpack-layers.ts')
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, 'build', ...options, source, '--outfile', program], {
    cwd: directory,
    stdout: 'ignore',
    stderr: 'pipe',
  })
  if (exitCode !== 0) throw new Error(`Cannot compile bench/unpack-layers.ts: ${stderr.toString()}`)
  cpSync(join(root, 'dist/berth-init'), join(directory, 'berth-init'))
  return program
}

function turnsFor(image: BenchImage, program: string, out: string): readonly Turn[] {
  const prepare = `rm -rf ${out}`
  const one = ({ path }: BenchImage['layers'][number], index: number): string =>
    `mkdir ${out}/${index}; zcat < ${path} | tar -x --numeric-owner -p -C ${out}/${index} -f -`
  const tar = `mkdir ${out}\n${allAtOnce(image.layers.map(one))}`
  return [
    { name: 'berth', command: `${program} ${image.layout} ${out}`, prepare },
    { name: TAR, command: tar, prepare },
    ...(Bun.which('umoci') === null
      ? []
      : [{ name: UMOCI, command: `umoci unpack --image ${image.layout}:bench ${out}`, prepare }]),
  ]
}

/** The section of the report. */
export function unpackSection(results: readonly UnpackResult[]): string {
  return [
    'From blobs in an image layout to directories, by a program that is compiled as `berth` is; also verified: the digest of each blob and each diffID, which tar does not look at. Onto a tmpfs, so that the programs are compared and not the disk. The images are made by `bench/bench-image.ts`, the same each time. umoci unpacks one layer after the other, as it must.',
    ...results.map(({ image, timed }) => `### ${image.name}\n\n${imageFacts(image)}.\n\n${turnsTable(timed, TAR)}`),
  ].join('\n\n')
}

/** The rows of the summary. */
export function unpackRows(results: readonly UnpackResult[]): readonly string[] {
  return results.flatMap(({ image, timed }) => [
    ...ratioRow(`unpacking ${image.name} ÷ \`${TAR}\``, timed, 'berth', TAR, TARGET.tar),
    ...ratioRow(`unpacking ${image.name} ÷ \`${UMOCI}\``, timed, 'berth', UMOCI, TARGET.umoci),
  ])
}

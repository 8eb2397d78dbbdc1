/** Unpacking layers, from blobs on the disk to directories, beside `zcat | tar -x` and umoci. */
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sampleTable, verdict } from './markdown.ts'
import { type Contender, type Effort, measure, ratioOf, type Sample, timesOf } from './measure.ts'
import { quantile } from './quantile.ts'
import { BENCH_IMAGES, type BenchImage, makeBenchImage } from './unpack-inputs.ts'

const TARGET = { tar: 1.3, umoci: 2 }
const MIB = 1024 * 1024

/** The samples of one image: Berth, tar, and umoci if it is there. */
export interface UnpackResult {
  readonly image: BenchImage
  readonly samples: readonly Sample[]
  /** The largest memory of the process that wants the layers, as /proc says it. */
  readonly peakMemory: string
}

/**
 * Measures all images. The results go to `memory`, a directory on a tmpfs: what is compared is the programs, and a disk
 * would add the same to each, with more noise than they differ by.
 */
export async function measureUnpack(
  root: string,
  directory: string,
  memory: string,
  effort: Effort,
): Promise<readonly UnpackResult[]> {
  const program = compile(root, directory)
  const results: UnpackResult[] = []
  for (const name of BENCH_IMAGES) {
    console.error(`bench: unpack ${name}`)
    const image = await makeBenchImage(name, directory)
    const out = join(memory, 'out')
    const samples = measure(contendersFor(image, program, directory, out), effort, directory)
    rmSync(out, { recursive: true, force: true })
    mkdirSync(out)
    const peakMemory = Bun.spawnSync([program, image.layout, out]).stdout.toString().trim()
    rmSync(out, { recursive: true })
    rmSync(image.layout, { recursive: true })
    results.push({ image, samples, peakMemory })
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

function contendersFor(image: BenchImage, program: string, directory: string, out: string): readonly Contender[] {
  const script = join(directory, `tar-${image.name}.sh`)
  const lines = image.layers.map(
    ({ path }, index) => `mkdir ${out}/${index}; zcat < ${path} | tar -x --numeric-owner -p -C ${out}/${index} -f - &`,
  )
  writeFileSync(script, ['set -e', `mkdir -p ${out}`, ...lines, 'wait', ''].join('\n'))
  const prepare = `rm -rf ${out}`
  const umoci = { name: 'umoci unpack', command: `umoci unpack --image ${image.layout}:bench ${out}`, prepare }
  return [
    { name: 'berth', command: `${program} ${image.layout} ${out}`, prepare },
    { name: 'zcat \\| tar -x, all layers at once', command: `sh ${script}`, prepare },
    ...(Bun.which('umoci') === null ? [] : [umoci]),
  ]
}

/** The section of the report. */
export function unpackSection(results: readonly UnpackResult[]): string {
  const tables = results.map(({ image, samples, peakMemory }) => {
    const compressed = image.layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    const facts = `${image.layers.length} layers, ${image.entryCount} entries, ${Math.round(image.contentBytes / MIB)} MiB in ${Math.round(compressed / MIB)} MiB of gzip`
    return `### ${image.name}\n\n${facts}; the process that wants the layers had at most ${peakMemory}.\n\n${sampleTable(samples, samples[1])}`
  })
  return [
    '## Unpacking layers',
    'From blobs in an image layout to directories, by a program that is compiled as `berth` is; also verified: the digest of each blob and each diffID, which tar does not look at. Onto a tmpfs, so that the programs are compared and not the disk. The images are made by `bench/unpack-inputs.ts`, the same each time. umoci unpacks one layer after the other, as it must. Command: `bench/run --suite unpack`.',
    ...tables,
  ].join('\n\n')
}

/** The rows of the summary: the worst image of each target. */
export function unpackRows(results: readonly UnpackResult[]): readonly string[] {
  const worst = (index: number, ratio: (berth: Sample, peer: Sample) => number): number =>
    Math.max(
      ...results.map(({ samples }) => {
        const [berth, peer] = [samples[0], samples[index]]
        return berth === undefined || peer === undefined ? Number.NaN : ratio(berth, peer)
      }),
    )
  const tar = worst(1, (berth, peer) => ratioOf(berth, peer).median)
  const umoci = worst(2, (berth, peer) => quantile(timesOf(berth), 0.5) / quantile(timesOf(peer), 0.5))
  const row = (name: string, target: number, value: number): string =>
    `| ${name} | ${target} | ${value.toFixed(2)} | ${verdict(value, target)} |`
  return [
    row('unpack ÷ `zcat \\| tar -x`, the worst of four images', TARGET.tar, tar),
    row('unpack ÷ `umoci unpack`, the worst of four images', 1 / TARGET.umoci, umoci),
  ]
}

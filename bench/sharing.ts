/** What Berth's store shares, and how much memory it takes to fill and read it: numbers without a peer. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { countingProxy } from './counting-proxy.ts'
import type { ImageBench } from './image-bench.ts'
import { verdict } from './markdown.ts'
import { type PeakMemory, peakMemory } from './peak-memory.ts'
import { runScript } from './timed-turns.ts'

const TARGET = { memoryMib: 150, containersMib: 10 }
const CONTAINERS = 100
const LIMIT_MS = 120_000
const MIB = 1024 * 1024
const KIB_PER_MIB = 1024

/** All of it; sizes in bytes. */
export interface SharingResult {
  /** Of the layer that the second image has more than the first. */
  readonly newLayer: { readonly blobBytes: number; readonly receivedBytes: number; readonly storedBytes: number }
  readonly wholeImageBytes: number
  /** What {@link CONTAINERS} containers take beside the image of 1 GB. */
  readonly containersBytes: number
  readonly memory: Readonly<Record<string, PeakMemory>>
}

/** Measures with the images `30-layers`, `31-layers` and `1-gb`. */
export async function measureSharing(bench: ImageBench): Promise<SharingResult> {
  const place = bench.place('sharing')
  const berth = [bench.berth, '--root', `${place}/root`, '--run-root', `${place}/run`]
  rmSync(place, { recursive: true, force: true })
  mkdirSync(place)
  const second = await measureSecondImage(bench, berth, place)
  const memory = await measureMemory(bench, berth, place)
  console.error(`bench: ${CONTAINERS} containers of 1-gb`)
  const before = await diskBytes(place)
  const run = `${berth.join(' ')} run --network none ${bench.reference('1-gb')} /bin/true`
  await runScript(`for i in $(seq ${CONTAINERS}); do ${run}; done`, LIMIT_MS)
  const containersBytes = (await diskBytes(place)) - before
  const remove = `${berth.join(' ')} ps -aq | xargs ${berth.join(' ')} rm`
  await runScript(remove, LIMIT_MS)
  rmSync(place, { recursive: true })
  return { ...second, containersBytes, memory }
}

async function measureSecondImage(
  bench: ImageBench,
  berth: readonly string[],
  place: string,
): Promise<Pick<SharingResult, 'newLayer' | 'wholeImageBytes'>> {
  await bench.image('30-layers')
  const second = await bench.image('31-layers')
  console.error('bench: a second image')
  await using proxy = await countingProxy(bench.registry.port)
  const pull = async (name: string): Promise<{ readonly received: number; readonly stored: number }> => {
    const [received, stored] = [proxy.receivedBytes(), await diskBytes(place)]
    await runScript(`${berth.join(' ')} pull -q ${proxy.host}/${name}:bench`, LIMIT_MS)
    return { received: proxy.receivedBytes() - received, stored: (await diskBytes(place)) - stored }
  }
  await pull('30-layers')
  const { received, stored } = await pull('31-layers')
  const sizes = second.layers.map(({ sizeBytes }) => sizeBytes)
  const newLayer = { blobBytes: sizes.at(-1) ?? 0, receivedBytes: received, storedBytes: stored }
  return { newLayer, wholeImageBytes: sizes.reduce((sum, size) => sum + size, 0) }
}

/** The largest image through every command that moves one; it stays, with a name. */
async function measureMemory(
  bench: ImageBench,
  berth: readonly string[],
  place: string,
): Promise<SharingResult['memory']> {
  await bench.image('1-gb')
  const reference = bench.reference('1-gb')
  const memory: Record<string, PeakMemory> = {}
  const watch = async (verb: string, ...args: readonly string[]): Promise<void> => {
    console.error(`bench: memory of ${verb}`)
    memory[verb] = await peakMemory([...berth, verb, ...args])
  }
  const archive = join(place, 'archive')
  await watch('pull', '-q', reference)
  const pushed = `${bench.registry.host}/pushed:bench`
  await runScript(`${berth.join(' ')} tag ${reference} ${pushed}`, LIMIT_MS)
  await watch('push', '-q', pushed)
  await watch('save', '-o', archive, reference)
  await runScript(`${berth.join(' ')} rmi -f ${pushed} ${reference}`, LIMIT_MS)
  await watch('load', '-q', '-i', archive)
  rmSync(archive)
  const copy = '/bin/sh -c "cp -r /usr/share/part-0/package-0-0 /changed"'
  await runScript(`${berth.join(' ')} run --name changed --network none ${reference} ${copy}`, LIMIT_MS)
  await watch('commit', 'changed', 'committed:bench')
  await runScript(`${berth.join(' ')} rm changed`, LIMIT_MS)
  return memory
}

/** What is allocated below a directory, each file once, as du(1) counts. */
async function diskBytes(directory: string): Promise<number> {
  const du = Bun.spawn(['du', '-s', '--block-size=1', directory], { stdout: 'pipe' })
  return Number((await new Response(du.stdout).text()).split('\t')[0])
}

/** The section of the report. */
export function sharingSection({ newLayer, wholeImageBytes, containersBytes, memory }: SharingResult): string {
  const mib = (bytes: number): string => (bytes / MIB).toFixed(2)
  const rows = Object.entries(memory).map(
    ([verb, { engineKib, childKib }]) =>
      `| ${verb} | ${(engineKib / KIB_PER_MIB).toFixed(0)} | ${(childKib / KIB_PER_MIB).toFixed(0)} |`,
  )
  return [
    `\`31-layers\` is \`30-layers\` and one layer more, of ${mib(newLayer.blobBytes)} MiB compressed; all blobs of it are ${mib(wholeImageBytes)} MiB. With \`30-layers\` in the store, pulling it received **${mib(newLayer.receivedBytes)} MiB** and took **${mib(newLayer.storedBytes)} MiB** of the disk, the blob and its files together.`,
    `${CONTAINERS} containers of the image of 1 GB take **${mib(containersBytes)} MiB** of the disk beyond it.`,
    'The most memory (VmHWM) with the image of 1 GB; commit of 256 MiB. The engine is the process of the command; what unpacks and packs is in processes of its own.',
    `| | engine, MiB | largest process beside it, MiB |\n| --- | --- | --- |\n${rows.join('\n')}`,
  ].join('\n\n')
}

/** The rows of the summary. */
export function sharingRows({ newLayer, containersBytes, memory }: SharingResult): readonly string[] {
  const containers = containersBytes / MIB
  const peak = Math.max(...Object.values(memory).map(({ engineKib }) => engineKib)) / KIB_PER_MIB
  const received = newLayer.receivedBytes / newLayer.blobBytes
  return [
    `| received for a second image ÷ its new layer | 1.1 | ${received.toFixed(3)} | ${verdict(received, 1.1)} |`,
    `| disk of ${CONTAINERS} containers of a 1 GB image, MiB | ${TARGET.containersMib} | ${containers.toFixed(2)} | ${verdict(containers, TARGET.containersMib)} |`,
    `| memory of the engine in pull, push, save, load, commit of 1 GB, MiB | ${TARGET.memoryMib} | ${peak.toFixed(0)} | ${verdict(peak, TARGET.memoryMib)} |`,
  ]
}

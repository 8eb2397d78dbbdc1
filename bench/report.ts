/** Measures, and writes the document: see bench/run. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { mountBenchDisk } from './bench-disk.ts'
import { ImageBench } from './image-bench.ts'
import { measureStarts, startSection } from './image-start.ts'
import { type Medium, measurePulls, pullRows, pullSection } from './pull.ts'
import { measureRuntime } from './runtime-report.ts'
import { measureSharing, sharingRows, sharingSection } from './sharing.ts'
import { SavedReports, type SuiteReport } from './suite-report.ts'
import { endTurns } from './timed-turns.ts'
import { measureTransfers, transferRows, transferSection } from './transfer.ts'
import { measureUnpack, unpackRows, unpackSection } from './unpack.ts'

const ROOT = join(import.meta.dir, '..')
const GIB = 1024 ** 3
const PREFIX = 'berth-bench-'
const MEMORY = '/dev/shm'

/** Where a suite works. The images are made when one is wanted, and shared by the suites of one run. */
interface Place {
  readonly directory: string
  /** On a tmpfs, which /run is on any host with systemd, but not on every machine that builds. */
  readonly memory: string
  readonly rounds: number
  readonly images: (medium?: Medium) => Promise<ImageBench>
}

/** In the order of the document; each takes some minutes on a machine that has nothing else to do. */
const SUITES = {
  runtime: ({ directory, memory, rounds }) => measureRuntime(directory, memory, rounds),
  pull: place => pulls(place, 'Pulling', ['base', '30-layers'], 45_000),
  'pull-files': place => pulls(place, 'Pulling many small files', ['50k-files'], 60_000),
  'pull-gigabyte': place => pulls(place, 'Pulling 1 GB', ['1-gb'], 60_000),
  'pull-disk': place => pulls(place, 'Pulling onto a disk', ['base', '30-layers', '50k-files', '1-gb'], 45_000, 'disk'),
  transfer: async ({ images }) => {
    const bench = await images()
    const results = await measureTransfers(bench)
    const sections = `## Moving images\n\n${transferSection(results, bench.dockerRefusal)}`
    return { sections, rows: transferRows(results) }
  },
  sharing: async ({ images }) => {
    const result = await measureSharing(await images())
    return { sections: `## Sharing, and memory\n\n${sharingSection(result)}`, rows: sharingRows(result) }
  },
  'image-start': async ({ images, rounds }) => {
    const result = await measureStarts(await images(), rounds)
    return { sections: `## Starting an image\n\n${startSection(result)}`, rows: [] }
  },
  unpack: async ({ images, memory }) => {
    const results = await measureUnpack(ROOT, await images(), memory)
    return { sections: `## Unpacking layers\n\n${unpackSection(results)}`, rows: unpackRows(results) }
  },
} as const satisfies Readonly<Record<string, (place: Place) => Promise<SuiteReport>>>

type SuiteName = keyof typeof SUITES
const SUITE_NAMES = Object.keys(SUITES) as readonly SuiteName[]

async function pulls(
  { images }: Place,
  title: string,
  names: Parameters<typeof measurePulls>[1],
  budgetMs: number,
  medium: Medium = 'memory',
): Promise<SuiteReport> {
  const bench = await images(medium)
  const results = await measurePulls(bench, names, budgetMs)
  const sections = `## ${title}\n\n${pullSection(results, medium, bench.dockerRefusal)}`
  return { sections, rows: pullRows(results, medium) }
}

/** Measures the suites one after another; a suite that fails keeps no other from running. Returns those that failed. */
async function measureSuites(
  names: readonly SuiteName[],
  saved: SavedReports,
  rounds: number,
): Promise<readonly SuiteName[]> {
  const undo = new AsyncDisposableStack()
  let disposing: Promise<void> | null = null
  // A signal may come while it is under way: then it is waited for, not cut short.
  const dispose = (): Promise<void> => {
    disposing ??= undo.disposeAsync()
    return disposing
  }
  await using _ = { [Symbol.asyncDispose]: dispose }
  const [directory, memory] = [ownDirectory(tmpdir()), ownDirectory(MEMORY)]
  for (const each of [directory, memory]) undo.defer(() => rmSync(each, { recursive: true, force: true }))
  const disk = join(directory, 'disk')
  const opened = new Map<Medium, Promise<ImageBench>>()
  const images = (medium: Medium = 'memory'): Promise<ImageBench> => {
    const open = async (): Promise<ImageBench> => {
      if (medium === 'disk') undo.use(await mountBenchDisk(disk))
      return undo.use(await ImageBench.open(ROOT, medium === 'disk' ? disk : memory))
    }
    const bench = opened.get(medium) ?? open()
    opened.set(medium, bench)
    return bench
  }
  const stop = (): void => {
    endTurns()
    void dispose().finally(() => process.exit(1))
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, stop)
  const failed: SuiteName[] = []
  for (const name of names) {
    const [began, [before = Number.NaN]] = [performance.now(), loadavg()]
    try {
      const report = await SUITES[name]({ directory, memory, rounds, images })
      const [after = Number.NaN] = loadavg()
      const seconds = Math.round((performance.now() - began) / 1000)
      saved.save(name, {
        ...report,
        date: new Date().toISOString().slice(0, 10),
        kernel: release(),
        load: { before, after },
        seconds,
      })
      console.error(`bench: ${name} took ${seconds} s`)
    } catch (error) {
      console.error(`bench: ${name} failed:`, error)
      failed.push(name)
    }
  }
  return failed
}

/** A directory with our process id in its name; those of runs that were killed are removed. */
function ownDirectory(parent: string): string {
  for (const name of readdirSync(parent)) {
    const pid = /^berth-bench-(\d+)-/.exec(name)?.[1]
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(parent, name), { recursive: true, force: true })
  }
  return mkdtempSync(join(parent, `${PREFIX}${process.pid}-`))
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

function documentOf(saved: SavedReports): string {
  const reports = SUITE_NAMES.map(name => ({ name, report: saved.find(name) }))
  const rows = reports.flatMap(({ report }) => report?.rows ?? [])
  const sections = reports.map(({ name, report }) => {
    if (report === null) return `## ${name}\n\nNot measured.`
    const { date, kernel, load, seconds } = report
    const how = `*\`bench/run --suite ${name}\` on ${date}, Linux ${kernel}: ${seconds} s; load average before ${load.before.toFixed(1)}, after ${load.after.toFixed(1)}.*`
    return `${report.sections}\n\n${how}`
  })
  return `${[
    '# Benchmarks\n\nWritten by `bench/run` (`npm run bench`); run it to have the figures of your machine. All contenders of a table are timed in the same run, taking turns. Ratios are of medians. What takes seconds is timed in orders in which each contender follows each other one equally often, and before each turn 1.5 GB of memory are touched and freed: a virtual machine’s host may have taken what was unused, and whoever comes first would pay for it.',
    `## In short\n\n${['| | target, at most | measured | |', '| --- | --- | --- | --- |', ...rows].join('\n')}`,
    `## Machine\n\n${machine()}`,
    ...sections,
  ].join('\n\n')}\n`
}

function machine(): string {
  const said = (...command: readonly string[]): string =>
    Bun.which(command[0] ?? '') === null
      ? `${command[0]}: not installed`
      : (Bun.spawnSync([...command])
          .stdout.toString()
          .trim()
          .split('\n')[0] ?? '')
  const mode = readFileSync('/proc/self/mountinfo', 'utf8').includes(' - cgroup ') ? 'v1 or hybrid' : 'v2'
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { readonly version: string }
  const peers = ['runc', 'crun', 'podman', 'dockerd', 'skopeo', 'umoci', 'hyperfine'].map(name =>
    said(name, '--version'),
  )
  return [
    `- Linux ${release()}, ${availableParallelism()} × ${cpus()[0]?.model.trim() ?? 'unknown CPU'}, ${Math.round(totalmem() / GIB)} GiB, cgroup ${mode}, ${said('stat', '-f', '-c', '%T', tmpdir())}`,
    `- berth ${version} on Bun ${Bun.version}; ${peers.join('; ')}`,
  ].join('\n')
}

function suitesNamed(given: string): readonly SuiteName[] {
  const names = SUITE_NAMES.filter(name => given === 'all' || given.split(',').includes(name))
  if (names.length > 0) return names
  console.error(`bench: no suite "${given}", expected ${SUITE_NAMES.join(', ')} or all`)
  process.exit(2)
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '8' },
    suite: { type: 'string', default: 'all' },
    continue: { type: 'boolean', default: false },
    output: { type: 'string', default: join(ROOT, 'docs/benchmarks.md') },
  },
})
const saved = new SavedReports(join(ROOT, 'dist/bench'))
const wanted = suitesNamed(values.suite)
const names = wanted.filter(name => !values.continue || saved.find(name) === null)
for (const name of names) saved.remove(name)
const failed = await measureSuites(names, saved, Number(values.rounds))
const text = documentOf(saved)
if (values.output === '-') console.log(text)
else writeFileSync(values.output, text)
for (const name of wanted) console.error([`bench: ${name}`, ...(saved.find(name)?.rows ?? [])].join('\n'))
process.exit(failed.length === 0 ? 0 : 1)

import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { makeBundle } from './bundle.ts'
import { type CallCounts, compareExecutor, countCalls, type ExecutorTimes, prepareExecutor } from './executor.ts'
import { compileEmpty, EMPTY_PROGRAM, pageFaultMicroseconds } from './floor.ts'
import { sampleTable, verdict } from './markdown.ts'
import { type Contender, type Effort, measure, ratioOf, type Sample } from './measure.ts'
import { findPeer, type Peer } from './peers.ts'
import { quantile } from './quantile.ts'
import { measureShims, type ShimMemory } from './shim-memory.ts'
import type { SuiteReport } from './suite-report.ts'
import { berthRuntime, engineSuite, peerRuntime, runSuite, type Setting, verbSuite, versionSuite } from './suites.ts'

const ROOT = join(import.meta.dir, '..')
const RUNS_PER_ROUND = 4
const SHIMS = [20, 100]
const MIB = 1024 * 1024
const TARGET = { run: 0.6, executor: 2, shimKib: 300, initBytes: MIB }
/** Limits that podman would raise, which a root without CAP_SYS_RESOURCE may not. */
const PODMAN_LIMITS = '--ulimit nofile=1024:1024 --ulimit nproc=1000:1000'

/** Everything that one run measures. */
interface Results {
  readonly peers: readonly Peer[]
  readonly run: readonly Sample[]
  readonly pageFaultMicroseconds: number
  readonly verbs: Readonly<Record<string, readonly Sample[]>>
  readonly version: readonly Sample[]
  readonly engines: readonly Sample[]
  readonly executor: ExecutorTimes
  readonly calls: { readonly bare: CallCounts; readonly executor: CallCounts } | null
  readonly shims: readonly ShimMemory[]
  readonly initBytes: number
}

async function collect(directory: string, stateDirectory: string, effort: Effort): Promise<Results> {
  const bundle = makeBundle(join(directory, 'bundle'), ['/bin/true'])
  const setting: Setting = { programs: join(ROOT, 'dist'), bundle, state: join(stateDirectory, 'state') }
  mkdirSync(setting.state)
  const init = join(setting.programs, 'berth-init')
  const runc = peerRuntime('runc', setting)
  const crun = peerRuntime('crun', setting, '--cgroup-manager=disabled')
  const podman = `podman --runtime runc --cgroup-manager cgroupfs run --rm --network none ${PODMAN_LIMITS} --rootfs ${bundle}/rootfs /bin/true`
  const trial = (command: string): readonly string[] =>
    `${command} run --bundle ${bundle} berth-bench-trial`.split(/\s+/)
  const peers = [
    findPeer('runc', trial(runc.command)),
    findPeer('crun', trial(crun.command)),
    findPeer('podman', podman.split(' ')),
  ]
  const usable = (name: string): boolean => peers.some(peer => peer.name === name && peer.refusal === null)
  const runtimes = [berthRuntime(setting), ...(usable('runc') ? [runc] : []), ...(usable('crun') ? [crun] : [])]
  const timed = (contenders: readonly Contender[]): readonly Sample[] => {
    console.error(`bench: ${contenders.map(({ name }) => name).join(', ')}`)
    return measure(contenders, effort, directory)
  }
  prepareExecutor(bundle)
  const shims: ShimMemory[] = []
  for (const count of SHIMS) {
    const place = join(directory, `shims-${count}`)
    mkdirSync(place)
    shims.push(await measureShims(count, place))
  }
  return {
    peers,
    run: timed([
      ...runSuite(runtimes, setting),
      // As berth-runc starts berth.
      { name: EMPTY_PROGRAM, command: `env BUN_JSC_useJIT=0 ${compileEmpty(directory)}` },
    ]),
    pageFaultMicroseconds: pageFaultMicroseconds(directory),
    verbs: {
      create: timed(verbSuite('create', runtimes, setting)),
      start: timed(verbSuite('start', runtimes, setting)),
      delete: timed(verbSuite('delete', runtimes, setting)),
    },
    version: timed(
      versionSuite(
        setting,
        ['runc', 'crun', 'podman'].filter(name => Bun.which(name) !== null),
      ),
    ),
    engines: timed(engineSuite(setting, usable('podman') ? podman : null)),
    executor: compareExecutor(init, bundle, effort.rounds * effort.runs * 2),
    calls: countCalls(init, bundle),
    shims,
    initBytes: statSync(init).size,
  }
}

function byName(samples: readonly Sample[], name: string): Sample | undefined {
  return samples.find(sample => sample.name === name || sample.name.startsWith(`${name} `))
}

/** The OCI runtime, the executor of plans, and shims; about a minute of 8 rounds. Takes two directories, the second on a tmpfs. */
export async function measureRuntime(directory: string, stateDirectory: string, rounds: number): Promise<SuiteReport> {
  const results = await collect(directory, stateDirectory, { rounds, runs: RUNS_PER_ROUND })
  return { sections: sectionsOf(results, rounds), rows: summary(results) }
}

function sectionsOf(results: Results, rounds: number): string {
  const { run, verbs, version, engines, peers } = results
  const versions = peers.map(({ name, version: said }) => said ?? `${name}: not installed`)
  return [
    `## \`run\` of /bin/true\n\nTimed by hyperfine, taking turns: ${rounds} rounds of ${RUNS_PER_ROUND} runs each, beside ${versions.join(', ')}. The bundle is what \`runc spec\` writes: namespaces (no user namespace), Docker's mounts, masked paths, one device list; no seccomp. A whole life: create, start, wait, delete. The state of the containers is on a tmpfs, as /run is.\n\n${sampleTable(run, byName(run, 'runc'))}\n\n${floorText(results)}\n\n${crunText(results)}`,
    `## Its parts as commands of their own\n\n${Object.entries(verbs)
      .map(([verb, samples]) => `### ${verb}\n\n${sampleTable(samples, byName(samples, 'runc'))}`)
      .join('\n\n')}`,
    `## Starting the program\n\n${sampleTable(version, byName(version, 'runc'))}\n\n\`--version\` of each: what every command pays before it begins.`,
    `## Engines\n\nWith their own defaults (Berth: a user namespace with ids of its own, seccomp, a shim with a log), without network, from a directory or from this machine's own root. podman runs runc, with cgroupfs, and with limits that need no CAP_SYS_RESOURCE.\n\n${sampleTable(engines, byName(engines, 'podman'))}`,
    `## The plan executor\n\n${executorText(results)}`,
    `## Memory and size\n\n${memoryText(results)}`,
  ].join('\n\n')
}

function summary(results: Results): readonly string[] {
  const berth = byName(results.run, 'berth')
  const runc = byName(results.run, 'runc')
  const rows: string[] = []
  if (berth !== undefined && runc !== undefined) {
    const { median } = ratioOf(berth, runc)
    rows.push(
      `| \`berth runtime run\` ÷ \`runc run\` | ${TARGET.run} | ${median.toFixed(2)} | ${verdict(median, TARGET.run)} |`,
    )
  }
  const ratio = executorRatio(results.executor)
  rows.push(
    `| plan executor ÷ bare C program | ${TARGET.executor} | ${ratio.toFixed(2)} | ${verdict(ratio, TARGET.executor)} |`,
  )
  const worst = Math.max(...results.shims.map(({ privateMaxKib }) => privateMaxKib))
  rows.push(`| private memory of a shim, KiB | ${TARGET.shimKib} | ${worst} | ${verdict(worst, TARGET.shimKib)} |`)
  const mib = results.initBytes / MIB
  rows.push(`| size of berth-init, MiB | 1 | ${mib.toFixed(2)} | ${verdict(results.initBytes, TARGET.initBytes)} |`)
  return rows
}

/** What the figures of one machine do not say. */
const CRUN_DISTANCE =
  'Where crun runs it can be expected to be faster than Berth, by about what Bun takes to start: crun is one small C program, while Berth as a command pays for its JavaScript engine to start and to run code that nothing has warmed up. What remains when that is paid once, as in a daemon, is the plan executor, below.'

/** What of the distance is not in our hands. */
function floorText({ pageFaultMicroseconds }: Results): string {
  return `The program that does nothing is the floor of any that Bun compiles. What it takes is mostly the first touch of memory, which costs ${pageFaultMicroseconds.toFixed(1)} µs a page on this machine (\`bench/page-fault.c\`), and Bun touches some 700 pages before the first line of a program, berth-runc some 1,400 in all. On another machine, where it cost 1.4 µs, a build that was slower than this one was at 0.65 of the same runc.`
}

function crunText({ peers, run }: Results): string {
  const crun = peers.find(({ name }) => name === 'crun')
  const berth = byName(run, 'berth')
  const sample = byName(run, 'crun')
  if (crun?.refusal !== null || berth === undefined || sample === undefined)
    return `crun is not in the table: ${crun?.version ?? 'crun'} says "${crun?.refusal}", also with \`--cgroup-manager=disabled\`. ${CRUN_DISTANCE}`
  const { median } = ratioOf(berth, sample)
  return `crun runs without making a cgroup (its version here refuses cgroups in hybrid mode), so it does less. Berth takes ${median.toFixed(2)} × its time: ${CRUN_DISTANCE}`
}

function executorRatio({ bare, executor }: ExecutorTimes): number {
  return quantile(executor, 0.5) / quantile(bare, 0.5)
}

function executorText({ executor, calls }: Results): string {
  const row = (name: string, times: readonly number[]): string => {
    const ms = (part: number): string => (quantile(times, part) / 1000).toFixed(2)
    return `| ${name} | **${ms(0.5)}** | ${ms(0.1)} – ${ms(0.9)} | ${ms(0)} | ${times.length} |`
  }
  return [
    "From starting `berth-init plan < frame`, the plan being encoded already, until it has ended: seven new namespaces with a user namespace among them, an idmapped overlay as root, the standard mounts and devices, masked and read-only paths, capabilities, Docker's seccomp profile, /bin/true executed and reaped. `bench/bare.c` makes the same calls without plan, decoding, failure reports or protection of its own file.",
    '',
    '| | median ms | 10 % – 90 % | fastest | runs |',
    '| --- | --- | --- | --- | --- |',
    row('bare C', executor.bare),
    row('berth-init', executor.executor),
    '',
    `Ratio: **${executorRatio(executor).toFixed(2)}**.`,
    ...(calls === null ? [] : ['', callsText(calls)]),
  ].join('\n')
}

/** The calls that make a container, of which both must make as many. */
const ESSENTIAL = [
  'clone3',
  'open_tree',
  'mount_setattr',
  'move_mount',
  'fsopen',
  'fsmount',
  'pivot_root',
  'umount2',
  'symlinkat',
  'setresuid',
  'setresgid',
  'capset',
  'seccomp',
  'sethostname',
  'keyctl',
  'setsid',
]

function callsText({ bare, executor }: { bare: CallCounts; executor: CallCounts }): string {
  const total = (counts: CallCounts): number => [...counts.values()].reduce((sum, count) => sum + count, 0)
  const rows = ESSENTIAL.map(name => `| ${name} | ${bare.get(name) ?? 0} | ${executor.get(name) ?? 0} |`)
  return [
    'That both do the same work, by `strace -f -c` (berth-init also clones and protects the mount of its own file, and executes itself again, before it begins):',
    '',
    '| call | bare C | berth-init |',
    '| --- | --- | --- |',
    ...rows,
    `| all calls | ${total(bare)} | ${total(executor)} |`,
  ].join('\n')
}

function memoryText({ shims, initBytes }: Results): string {
  const rows = shims.map(
    ({ shims: count, privateKib, privateMaxKib, proportionalKib }) =>
      `| ${count} | ${privateKib} | ${privateMaxKib} | ${proportionalKib} |`,
  )
  return [
    'Running containers, each with a shim that writes a log. From /proc/PID/smaps_rollup; private is Private_Clean + Private_Dirty.',
    '',
    '| shims | private KiB, median | private KiB, largest | proportional KiB (Pss), median |',
    '| --- | --- | --- | --- |',
    ...rows,
    '',
    `berth-init is ${initBytes} bytes on disk, static.`,
  ].join('\n')
}

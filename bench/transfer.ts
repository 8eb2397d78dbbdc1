/** Moving an image that is there: push, save, load and commit beside Docker's. */
import { startRegistry } from '../test/support/registry.ts'
import type { ImageBench } from './image-bench.ts'
import { ratioRow, turnsTable } from './image-tables.ts'
import { runScript, type TimedTurns, type Turn, timeTurns } from './timed-turns.ts'

const LIMITS = { rounds: 5, budgetMs: 20_000, runMs: 60_000 }
/** What the containers that are committed have changed: some of the image's own files, copied. */
const CHANGE = 'usr/share/part-0'

/** The times of each command. */
export type TransferResult = Readonly<Record<'push' | 'save' | 'load' | 'commit', TimedTurns>>

/** Measures all four with the image `base`. */
export async function measureTransfers(bench: ImageBench): Promise<TransferResult> {
  await bench.image('base')
  const reference = bench.reference('base')
  const place = bench.place('transfer')
  const berth = `${bench.berth} --root ${place}/root --run-root ${place}/run`
  const { docker } = bench
  await runScript(
    `mkdir ${place}; ${berth} pull -q ${reference}; ${berth} save -o ${place}/archive ${reference}`,
    LIMITS.runMs,
  )
  const copy = `/bin/sh -c "cp -r /${CHANGE} /changed"`
  await runScript(`${berth} run --name changed --network none ${reference} ${copy}`, LIMITS.runMs)
  if (docker !== null) {
    const changed = `${docker} create --name changed ${reference} /bin/true; ${docker} cp changed:/${CHANGE} ${place}/change`
    await runScript(
      `${docker} pull -q ${reference}; ${changed}; ${docker} cp ${place}/change changed:/changed`,
      LIMITS.runMs,
    )
  }
  await using registry = await startRegistry()
  const time = async (name: string, turns: (engine: Engine) => readonly Turn[]): Promise<TimedTurns> => {
    console.error(`bench: ${name}`)
    const engines = [
      { name: 'berth', command: berth },
      ...(docker === null ? [] : [{ name: 'docker', command: docker }]),
    ]
    return await timeTurns(engines.flatMap(turns), LIMITS)
  }
  const to = `${registry.host}/pushed:bench`
  const sync = `sync -f ${place}`
  const pushed = `rm -rf ${registry.storage}/docker; ${sync}`
  return {
    push: await time('push', ({ name, command }) => [
      { name, command: `${command} push ${to}`, prepare: `${pushed}; ${command} tag ${reference} ${to}` },
    ]),
    save: await time('save', ({ name, command }) => [
      { name, command: `${command} save -o ${place}/saved ${reference}`, prepare: `rm -f ${place}/saved; ${sync}` },
    ]),
    commit: await time('commit', ({ name, command }) => commitTurns(name, command, sync)),
    // Last: Docker's container and image have to go for it.
    load: await time('load', engine => loadTurns(engine, place)),
  }
}

interface Engine {
  readonly name: string
  readonly command: string
}

/** Into an empty store: what is loaded is not there yet. */
function loadTurns({ name, command }: Engine, place: string): readonly Turn[] {
  const input = `${place}/archive`
  if (name === 'docker') {
    // A container keeps its image; another tag of it is not enough to be rid of it.
    const prepare = `${command} rm -f changed >/dev/null || :; ${command} image prune -af; sync -f ${place}`
    return [{ name, command: `${command} load -i ${input}`, prepare }]
  }
  const empty = command.replace(`${place}/root`, `${place}/loaded`)
  return [{ name, command: `${empty} load -i ${input}`, prepare: `rm -rf ${place}/loaded; sync -f ${place}` }]
}

function commitTurns(name: string, command: string, sync: string): readonly Turn[] {
  const turn = (shown: string, options: string): Turn => ({
    name: shown,
    command: `${command} commit ${options} changed committed:bench`,
    prepare: `${command} rmi -f committed:bench 2>/dev/null || :; ${sync}`,
  })
  return name === 'docker'
    ? [turn(name, '')]
    : [turn(name, ''), turn('berth, --compression none', '--compression none')]
}

/** The section of the report. */
export function transferSection(results: TransferResult, dockerRefusal: string | null): string {
  return [
    'Of the image `base`. Pushed to an empty registry on loopback; saved as `docker-archive` to a file; loaded from such a file into an empty store; committed with a container that has a copy of 480 of the image’s files. Docker compresses nothing when it commits and again at each push; Berth when it commits.',
    ...(dockerRefusal === null ? [] : [`Docker is not in the tables: ${dockerRefusal}`]),
    ...Object.entries(results).map(([verb, timed]) => `### ${verb}\n\n${turnsTable(timed, 'docker')}`),
  ].join('\n\n')
}

/** The rows of the summary. */
export function transferRows(results: TransferResult): readonly string[] {
  return Object.entries(results).flatMap(([verb, timed]) =>
    ratioRow(`${verb} ÷ \`docker ${verb}\``, timed, 'berth', 'docker', 1),
  )
}

import { engineRoots, type GivenRoots } from '../engine/data-root.ts'
import { explainContainer } from '../engine/explain-container.ts'
import type { ImageEngine } from '../engine/image-engine.ts'
import { openImage } from '../engine/open-image.ts'
import { isRootless } from '../engine/rootless.ts'
import { StateDatabase } from '../engine/state-database.ts'
import { BerthError } from '../lib/error.ts'
import { printPlan } from '../plan/print.ts'
import { openDriver } from '../snapshot/open-driver.ts'
import { readContainerOptions } from './container-options.ts'
import { warnOnStderr } from './failure.ts'
import { helpText, parseOptions } from './options.ts'
import { RUN_GRAMMAR } from './run.ts'

/** `berth explain run …`: the plan of a container that is not made. */
export async function explainCommand(args: readonly string[], given: GivenRoots): Promise<number> {
  const [word, ...rest] = args
  if (word === undefined || word === '--help') {
    console.log(
      `Usage: berth explain run [OPTIONS] IMAGE [COMMAND [ARG...]]\n\nPrints every kernel call that "berth run" would make, with its reason. Makes no container; the layers of\nan image are unpacked if they were not yet.`,
    )
    return word === undefined ? 125 : 0
  }
  if (word !== 'run')
    throw new BerthError('invalidArgument', `Cannot explain "${word}": expected run; see also "berth runtime explain"`)
  const parsed = parseOptions(RUN_GRAMMAR, rest)
  if (parsed.flag('help')) {
    console.log(helpText(RUN_GRAMMAR, 'berth explain'))
    return 0
  }
  const options = readContainerOptions(parsed)
  const roots = engineRoots(given)
  const asked = given.storageDriver ?? null
  const engine: Omit<ImageEngine, 'database'> = {
    roots,
    warn: warnOnStderr,
    keepFree: given.keepFree ?? 'default',
    snapshots: () => openDriver(roots.data, { asked, isRootless: isRootless(), isDry: true }),
  }
  // Only an image of the store needs the database, which is made when it is opened.
  const image = await openImage(options.image, {
    ...engine,
    get database() {
      return new StateDatabase(engine.roots.data)
    },
  })
  using _borrowed = image.borrowed?.lease ?? null
  process.stdout.write(printPlan(await explainContainer(options, image, engine)))
  return 0
}

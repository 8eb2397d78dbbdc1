import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { RunnableImage } from '../image/image.ts'
import type { Plan } from '../plan/step.ts'
import { prepareContainer } from '../runtime/create.ts'
import { allocateRange } from '../security/id-ranges.ts'
import { GENERATED_FILES } from './compose-spec-mounts.ts'
import type { ContainerOptions } from './container-options.ts'
import { containerDirectory, type Engine } from './open-engine.ts'
import { bundleOf, describeContainer } from './prepare-container.ts'
import { isRootless } from './rootless.ts'
import { createOptions } from './run-container.ts'

/** The id that a plan of a container that is not made carries. */
const EXPLAINED_ID = '0'.repeat(64)

/** The plan of a container that is not made: the same composition as for a real one, with an id of zeros and the first id range. */
export async function explainContainer(
  options: ContainerOptions,
  image: RunnableImage,
  engine: Pick<Engine, 'roots' | 'warn' | 'snapshots'>,
): Promise<Plan> {
  const directory = containerDirectory(engine.roots, EXPLAINED_ID)
  const range = options.userns === 'auto' && !isRootless() ? allocateRange(new Set()) : null
  const description = await describeContainer(EXPLAINED_ID, options, image, range, directory, await engine.snapshots())
  const bundle = bundleOf(description, directory)
  const { plan } = await prepareContainer(EXPLAINED_ID, bundle, join(engine.roots.run, EXPLAINED_ID), {
    ...createOptions(description, directory, options, engine),
    pending: new Map([
      ...GENERATED_FILES.map(name => [join(directory, name), 'file'] as const),
      // `run` would make them, as docker does.
      ...options.binds.filter(({ source }) => !existsSync(source)).map(({ source }) => [source, 'directory'] as const),
    ]),
  })
  return plan
}

import { randomUUID } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { runSteps } from '../host/helper.ts'
import { processIdentity, sameProcess } from '../host/process-identity.ts'
import { invariant } from '../lib/error.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY } from '../linux/open-flags.ts'
import { SlotTable } from '../plan/slots.ts'
import { step } from '../plan/step.ts'
import { StepError } from '../plan/step-error.ts'

/** The names of directories in the making, or being removed, say whose they are: `.making-<pid>-<start ticks>-<uuid>`. */
const NAME = /^\.(?:making|removing)-(\d+)-(\d+)-[0-9a-f-]+$/

/** How often a removal starts again because a process that was killed just now made one file more. */
const REMOVE_ATTEMPTS = 20

/** A name for a directory that this process is making and will rename. */
export function makingName(): string {
  return ownName('making')
}

/** A name for a directory that nobody shall find any more, and that this process will remove. */
export function removingName(): string {
  return ownName('removing')
}

function ownName(purpose: 'making' | 'removing'): string {
  const self = processIdentity(process.pid)
  invariant(self !== null, 'a process sees itself in /proc')
  return `.${purpose}-${self.pid}-${self.startTicks}-${randomUUID()}`
}

/** The names of what processes were making or removing in `directory` when they ended. */
export async function leftoversIn(directory: string): Promise<readonly string[]> {
  return (await readdir(directory)).filter(name => {
    const [, pid, startTicks] = NAME.exec(name) ?? []
    return pid !== undefined && !sameProcess({ pid: Number(pid), startTicks: Number(startTicks) })
  })
}

/** Removes them. */
export async function removeLeftovers(directory: string): Promise<void> {
  for (const name of await leftoversIn(directory)) await removeTree(directory, name)
}

/**
 * Removes a tree that images or containers have made, however deep, following no link. It is no failure when there is none.
 * @throws {StepError}
 */
export async function removeTree(directory: string, name: string): Promise<void> {
  const slots = new SlotTable()
  const parent = slots.allocate('parent')
  const steps = [
    step(
      'open',
      { path: directory, flags: O_PATH | O_DIRECTORY | O_NOFOLLOW, mode: 0, out: parent },
      `find ${directory}`,
    ),
    step('remove_tree', { dir: parent, name }, `remove ${name}`),
  ]
  for (let attempt = 1; ; attempt++) {
    try {
      await runSteps(steps, slots.count)
      return
    } catch (error) {
      const again = error instanceof StepError && error.errno === 'ENOTEMPTY' && attempt < REMOVE_ATTEMPTS
      if (!again) throw error
    }
  }
}

/** Waits until all that was written to the filesystem of a directory is on its disk (syncfs(2)). @throws {StepError} */
export async function syncFilesystem(directory: string): Promise<void> {
  const slots = new SlotTable()
  const fd = slots.allocate('filesystem')
  const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
  const steps = [
    step('open', { path: directory, flags, mode: 0, out: fd }, `find ${directory}`),
    step('sync_fs', { fd }, 'write all of it to the disk'),
  ]
  await runSteps(steps, slots.count)
}

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { sameProcess } from '../host/process-identity.ts'
import { messageOf } from '../lib/error.ts'
import { EXIT_RECORD } from '../runtime/compose-shim.ts'
import { deleteContainer } from '../runtime/delete.ts'
import { StateDirectory } from '../runtime/state-directory.ts'
import { containerDirectory, type Engine } from './open-engine.ts'
import { removeContainerDirectory } from './prepare-container.ts'
import type { ContainerRow } from './state-database.ts'

/** What a container that ended unseen is said to have ended with. */
const UNKNOWN_EXIT_CODE = 255

/**
 * Puts away the containers whose client was killed before it could: those that have ended. One that still runs goes on; its
 * shim keeps its log. A failure is a warning: it is about somebody else's container.
 */
export async function sweepContainers(engine: Engine): Promise<void> {
  for (const row of engine.database.list()) {
    if (row.exitCode !== null || sameProcess(row.client)) continue
    const record = new StateDirectory(engine.roots.run, row.id).record()
    if (record !== null && sameProcess(record.process)) continue
    try {
      await putAwayUnseen(row, engine)
    } catch (error) {
      engine.warn(`container ${row.name} was left by a client that was killed: ${messageOf(error)}`)
    }
  }
  const driver = await engine.snapshots()
  await driver.sweep()
}

async function putAwayUnseen(row: ContainerRow, engine: Engine): Promise<void> {
  const { roots, warn, database } = engine
  const exitCode = readExitCode(join(roots.run, row.id, EXIT_RECORD))
  await deleteContainer(row.id, { root: roots.run, systemdCgroup: false, warn, force: true })
  // Without an exit record it never ran: its creator died half-way.
  if (!row.autoRemove && exitCode !== null) {
    database.ended(row.id, exitCode)
    return
  }
  await removeContainerDirectory(containerDirectory(roots, row.id), engine.snapshots)
  database.remove(row.id)
}

/** The shim's record: `code=N signal=N …`; see docs/shim-protocol.md. */
function readExitCode(path: string): number | null {
  if (!existsSync(path)) return null
  const code = /^code=(\d+) /.exec(readFileSync(path, 'utf8'))?.[1]
  return code === undefined ? UNKNOWN_EXIT_CODE : Number(code)
}

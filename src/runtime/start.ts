import { dirname } from 'node:path'
import { RecordParser } from '../host/record.ts'
import { connectUnix } from '../host/unix-socket.ts'
import { errnoDescription, errnoName } from '../lib/errno.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { expectStatus, findContainer } from './container-state.ts'
import { runHooks } from './run-hooks.ts'
import type { RuntimeOptions } from './runtime-options.ts'

/** What the process writes when it has heard the knock. */
const ACCEPTED = 'A'.charCodeAt(0)

/**
 * The `start` of the runtime-spec: lets the created process execute its program, then runs the poststart hooks.
 * A failing poststart hook is a warning, as the spec says.
 * @throws {BerthError} notFound; conflict: not in state created; internal: the program could not be executed
 */
export async function startContainer(id: string, options: RuntimeOptions): Promise<void> {
  const found = findContainer(options.root, id)
  expectStatus(found, 'start', 'created')
  await knock(`container "${id}"`, found.directory.startSocket)
  found.directory.started()
  await runHooks('poststart', found, options.warn)
}

/**
 * Knocks at the socket where a process waits and listens until it has become its program: the socket closes with execve.
 * `subject` is what errors call the process.
 * @throws {BerthError} conflict: nobody waits there; internal: a step after the knock failed
 */
export async function knock(subject: string, socket: string): Promise<void> {
  let bytes: Uint8Array
  try {
    bytes = await connectUnix(socket)
  } catch (error) {
    throw new BerthError(
      'conflict',
      `Cannot start ${subject}: its process does not wait for it (${dirname(socket)}): ${messageOf(error)}`,
      { cause: error },
    )
  }
  if (bytes[0] !== ACCEPTED) throw new BerthError('conflict', `Cannot start ${subject}: another start was first`)
  for (const record of new RecordParser().push(bytes.subarray(1)))
    if (record.kind === 'fail') {
      const said = record.message === '' ? '' : `: ${record.message.trim()}`
      throw new BerthError(
        'internal',
        `Cannot start ${subject}: step ${record.step} of stage ${record.stage}: ${errnoName(record.errno)} (${errnoDescription(record.errno)})${said}`,
      )
    }
}

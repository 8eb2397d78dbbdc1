import { dirname } from 'node:path'
import { RecordParser } from '../host/record.ts'
import { connectUnix } from '../host/unix-socket.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import type { PlanTail } from '../plan/step-error.ts'
import { completeStart } from './complete-start.ts'
import { expectStatus, findContainer } from './container-state.ts'
import { programError } from './launch-program.ts'
import type { RuntimeOptions } from './runtime-options.ts'

/** What the process writes when it has heard the knock. */
const ACCEPTED = 'A'.charCodeAt(0)

/**
 * The `start` of the runtime-spec: lets the created process execute its program, then runs the poststart hooks.
 * When such a hook fails the container is ended and removed, as the spec says (since 1.3).
 * @throws {BerthError} notFound; conflict: not in state created; internal: the program could not be executed, or a hook failed
 */
export async function startContainer(id: string, options: RuntimeOptions): Promise<void> {
  const found = findContainer(options.root, id)
  expectStatus(found, 'start', 'created')
  await knock(`container "${id}"`, found.directory.startSocket, found.record.afterStart)
  found.directory.started()
  await completeStart({ ...found, status: 'running' }, options)
}

/**
 * Knocks at the socket where a process waits and listens until it has become its program: the socket closes with execve.
 * `subject` is what errors call the process, `tail` what it has still to do.
 * @throws {BerthError} conflict: nobody waits there; ProgramError; StepError: a step after the knock failed
 */
export async function knock(subject: string, socket: string, tail: PlanTail): Promise<void> {
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
  for (const record of new RecordParser().push(bytes.subarray(1))) {
    if (record.kind !== 'fail') continue
    const { stepError } = await import('../plan/describe-failure.ts')
    const error = stepError(tail, record)
    throw programError(tail.program, error) ?? error
  }
}

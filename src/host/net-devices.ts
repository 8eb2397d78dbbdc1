import { BerthError } from '../lib/error.ts'
import { CLONE_NEWNET } from '../linux/namespaces.ts'
import { dumpAddresses, type LinkAddress, parseAddresses } from '../linux/netlink/address.ts'
import { netlinkArgs } from '../linux/netlink/batch.ts'
import { dumpLinks, type Link, parseLinks } from '../linux/netlink/link.ts'
import { type Dump, parseDump } from '../linux/netlink/message.ts'
import { O_RDONLY } from '../linux/open-flags.ts'
import { SlotTable } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'
import { runSteps } from './helper.ts'

/** The interfaces of a network namespace and their addresses, as they were at one moment. */
export interface NetworkState {
  readonly links: readonly Link[]
  readonly addresses: readonly LinkAddress[]
}

/** How often a dump is taken again because interfaces changed meanwhile; a storm of changes must not hold a container up for ever. */
const READ_LIMIT = 8

/**
 * Reads the interfaces of a network namespace: of the one whose file is at `path`, or the runtime's own (null).
 * @throws {StepError} the file is not there (ENOENT), is no network namespace (EINVAL), or may not be entered (EPERM)
 * @throws {BerthError} unavailable: interfaces changed all the time
 */
export async function readNetworkState(path: string | null): Promise<NetworkState> {
  // A helper of its own: it ends where it entered the namespace, and nothing else can run there by mistake.
  const steps = [...enterSteps(path), ...dumpSteps()]
  for (let attempt = 0; attempt < READ_LIMIT; attempt++) {
    const dump: Dump = parseDump((await runSteps(steps)).data)
    if (!dump.interrupted) return { links: parseLinks(dump.messages), addresses: parseAddresses(dump.messages) }
  }
  throw new BerthError('unavailable', `Cannot read network devices: they changed during each of ${READ_LIMIT} attempts`)
}

function enterSteps(path: string | null): Step[] {
  if (path === null) return []
  const namespace = new SlotTable().allocate('network namespace')
  return [
    step('open', { path, flags: O_RDONLY, mode: 0, out: namespace }, 'find the network namespace'),
    step('setns', { fd: namespace, type: CLONE_NEWNET }, 'enter it'),
  ]
}

function dumpSteps(): Step[] {
  // One dump per step: the kernel refuses (EBUSY) a second dump on a socket that has one in progress.
  return [
    step('netlink', netlinkArgs(dumpLinks()), 'read its interfaces'),
    step('netlink', netlinkArgs(dumpAddresses()), 'read their addresses'),
  ]
}

/**
 * Run in scratch network and mount namespaces that stand for a host: gives a container the interfaces of a case, looks
 * from inside, and brings them back. Prints what was seen as JSON. Started by net-devices.test.ts.
 */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { launch } from '../../src/host/launcher.ts'
import { readNetworkState } from '../../src/host/net-devices.ts'
import { messageOf } from '../../src/lib/error.ts'
import { CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER } from '../../src/linux/namespaces.ts'
import type { NetDevice } from '../../src/oci/runtime-spec-linux.ts'
import { STDERR, STDIN, STDOUT } from '../../src/plan/slots.ts'
import { step } from '../../src/plan/step.ts'
import { composeNetwork } from '../../src/runtime/compose-network.ts'
import { type NetDeviceMove, resolveNetDevices } from '../../src/runtime/net-devices.ts'
import { PlanBuilder } from '../../src/runtime/plan-builder.ts'
import { returnNetDevices } from '../../src/runtime/return-net-devices.ts'

/** What a case asks for: which host interfaces the container gets, and what it does with them. */
export interface Scenario {
  readonly devices: Readonly<Record<string, NetDevice>>
  /** The container has a user namespace of its own, which owns its network namespace. */
  readonly userNamespace?: boolean
  /** Shell commands in the container, before it is looked at. */
  readonly inside?: string
  /** Shell commands on the host before the interfaces return. */
  readonly meanwhile?: string
  /** The container's program can't be executed: the start fails when all devices have been moved. */
  readonly failExec?: boolean
}

/** An interface as `ip -json address` shows it. */
export interface IpLink {
  readonly ifname: string
  readonly ifindex: number
  readonly flags: readonly string[]
  readonly mtu: number
  readonly address: string
  readonly addr_info: readonly {
    readonly local: string
    readonly prefixlen: number
    readonly scope: string
    readonly tentative?: boolean
  }[]
}

/** What was seen, in order; null: it did not come to that. */
export interface Observation {
  readonly before: readonly IpLink[]
  readonly inside: readonly IpLink[] | null
  readonly during: readonly IpLink[]
  readonly after: readonly IpLink[]
  readonly error: string | null
  readonly warnings: readonly string[]
  /** What is left in the container's state directory and in the mount table below it. */
  readonly leftovers: readonly string[]
}

const HOST_SETUP = `
set -e
ip link set lo up
ip link add veth7 type veth peer name peer7
ip link set peer7 up
ip link set veth7 mtu 1400 address 02:00:00:00:00:07 up
ip address add 10.0.0.7/24 broadcast 10.0.0.255 dev veth7
ip address add 169.254.7.7/16 scope link dev veth7
ip address add 10.0.0.8/24 valid_lft 1000 preferred_lft 1000 dev veth7
ip address add fd00::7/64 nodad dev veth7
ip link add idle0 type veth peer name idle1
ip link add br0 type bridge
`

async function main(scenario: Scenario): Promise<Observation> {
  const state = mkdtempSync(join(tmpdir(), 'berth-netdev-'))
  try {
    shell(HOST_SETUP)
    const before = ipLinks()
    const started = await start(scenario, state)
    const during = ipLinks()
    shell(scenario.meanwhile ?? '')
    const warnings = await returnNetDevices(state, started.moves)
    // A second time there is nothing to do.
    await returnNetDevices(state, started.moves)
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
    const leftovers = [
      ...readdirSync(state).filter(name => name !== 'out'),
      ...mounts.filter(line => line.includes(state)),
    ]
    const { inside, error } = started
    return { before, inside, during, after: ipLinks(), error, warnings, leftovers }
  } finally {
    rmSync(state, { recursive: true })
  }
}

interface Started {
  readonly moves: readonly NetDeviceMove[]
  readonly inside: readonly IpLink[] | null
  readonly error: string | null
}

async function start(scenario: Scenario, state: string): Promise<Started> {
  let moves: readonly NetDeviceMove[] = []
  try {
    moves = resolveNetDevices(scenario.devices, await readNetworkState(null), null)
    const out = openSync(join(state, 'out'), 'w+')
    const launched = await launch(plan(scenario, state, moves).finish(), {
      stdio: [openSync('/dev/null', 'r'), out, 2],
    })
    const status = await launched.exited()
    const inside = readFileSync(join(state, 'out'), 'utf8')
    if (status !== 0) throw new Error(`the container's program ended with wait status ${status}`)
    return { moves, inside: JSON.parse(inside), error: null }
  } catch (error) {
    return { moves, inside: null, error: messageOf(error) }
  }
}

/** The smallest container that shows it: the machine's own root, with PID, mount and network namespaces of its own. */
function plan(scenario: Scenario, state: string, moves: readonly NetDeviceMove[]): PlanBuilder {
  const builder = new PlanBuilder()
  const user = scenario.userNamespace === true
  const flags = (CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWNS | (user ? CLONE_NEWUSER : 0)) >>> 0
  builder.host.push(step('clone', { flags, cgroup: null, joins: [], pidfd: null }, 'make the container process'))
  if (user) becomeMappedRoot(builder)
  const spec = { ociVersion: '1.3.0', linux: { namespaces: [{ type: 'network' as const }] } }
  composeNetwork(builder, { spec, stateDirectory: state, facts: { privileged: true } }, moves)
  builder.parent.push(step('wait_child', {}, 'wait for the container'))
  const argv = ['sh', '-c', `${scenario.inside ?? ''}\nexec ip -json address`]
  const program = scenario.failExec === true ? '/nonexistent' : '/bin/sh'
  const env = ['PATH=/usr/sbin:/usr/bin:/sbin:/bin']
  for (const [target, fd] of [STDIN, STDOUT, STDERR].entries())
    builder.exec.push(step('dup2', { fd, target }, 'connect the stdio'))
  builder.exec.push(step('execve', { paths: [program], argv, env }, 'run the program'))
  return builder
}

function becomeMappedRoot(builder: PlanBuilder): void {
  const tag = builder.tag()
  for (const name of ['uid_map', 'gid_map'])
    builder.parent.push(step('write_child', { name, data: '0 100000 65536\n' }, 'map ids'))
  builder.parent.push(step('post', { tag }, 'say that ids are mapped'))
  builder.child.push(
    step('await', { tag }, 'wait for id maps'),
    step('setresgid', { gid: 0 }, 'become the root group'),
    step('setresuid', { uid: 0 }, 'become root'),
  )
}

function shell(script: string): void {
  const { status, stderr } = spawnSync('sh', ['-c', script], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`shell: ${stderr}`)
}

function ipLinks(): readonly IpLink[] {
  const { stdout } = spawnSync('ip', ['-json', 'address'], { encoding: 'utf8' })
  return JSON.parse(stdout)
}

if (import.meta.main) console.log(JSON.stringify(await main(JSON.parse(process.argv[2] ?? '{}'))))

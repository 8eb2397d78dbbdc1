import { join } from 'node:path'
import type { Contender } from './measure.ts'

/** What the commands of a suite are made of. */
export interface Setting {
  /** Directory with `berth`, `berth-runc` and `berth-init`. */
  readonly programs: string
  /** A bundle that runs /bin/true. */
  readonly bundle: string
  /** For the state of the containers. */
  readonly state: string
}

/** An OCI runtime: its name in the table, and its command line up to the verb. */
export interface Runtime {
  readonly name: string
  readonly command: string
}

/** Berth as an OCI runtime. */
export function berthRuntime({ programs, state }: Setting): Runtime {
  return { name: 'berth', command: `${join(programs, 'berth-runc')} --root ${state}/berth` }
}

/** Another OCI runtime, with options of its own. */
export function peerRuntime(name: string, { state }: Setting, options = ''): Runtime {
  return { name: options === '' ? name : `${name} ${options}`, command: `${name} ${options} --root ${state}/${name}` }
}

const ID = 'berth-bench'

/** `run` of /bin/true: create, start, wait, delete in one command. */
export function runSuite(runtimes: readonly Runtime[], { bundle }: Setting): readonly Contender[] {
  return runtimes.map(({ name, command }) => ({ name, command: `${command} run --bundle ${bundle} ${ID}` }))
}

/** One verb of the life of a container, the ones before it being done untimed. */
export function verbSuite(
  verb: 'create' | 'start' | 'delete',
  runtimes: readonly Runtime[],
  { bundle }: Setting,
): readonly Contender[] {
  return runtimes.map(({ name, command }) => {
    const steps = [`${command} delete --force ${ID} 2>/dev/null || :`]
    if (verb !== 'create') steps.push(`${command} create --bundle ${bundle} ${ID} >/dev/null 2>&1 </dev/null`)
    if (verb === 'delete')
      steps.push(`${command} start ${ID}`, `until ${command} state ${ID} | grep -q stopped; do :; done`)
    const target = verb === 'create' ? `--bundle ${bundle} ${ID}` : ID
    return { name, command: `${command} ${verb} ${target}`, prepare: `sh -c '${steps.join('; ')}'` }
  })
}

/** Starting a program and ending it. */
export function versionSuite({ programs }: Setting, peers: readonly string[]): readonly Contender[] {
  return [
    { name: 'berth', command: `${join(programs, 'berth')} --version` },
    ...peers.map(name => ({ name, command: `${name} --version` })),
  ]
}

/** Whole engines: a container from a directory, without network. */
export function engineSuite({ programs, bundle }: Setting, podman: string | null): readonly Contender[] {
  const berth = `${join(programs, 'berth')} run --rm --network none`
  const contenders = [
    { name: 'berth run --rm host true', command: `${berth} host true` },
    { name: 'berth run --rm --rootfs DIR true', command: `${berth} --rootfs ${bundle}/rootfs /bin/true` },
  ]
  if (podman !== null) contenders.push({ name: 'podman run --rm --rootfs DIR true', command: podman })
  return contenders
}

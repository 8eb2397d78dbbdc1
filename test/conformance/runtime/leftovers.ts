/** What a container has left on the machine: looked for by its id, so that tests can run beside other things. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const CGROUPS = '/sys/fs/cgroup'

/** Mounts and cgroups with the id in their path, processes with the id in their command line or `mark` in their environment. */
export function leftoversOf(id: string, mark: string): readonly string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return [
    ...mounts.filter(line => line.includes(id)).map(line => `mount ${line}`),
    ...cgroupsNamed(CGROUPS, id).map(path => `cgroup ${path}`),
    ...processesWith(id, mark).map(text => `process ${text}`),
  ]
}

function cgroupsNamed(dir: string, id: string): string[] {
  return list(dir)
    .filter(entry => entry.isDirectory())
    .flatMap(({ name }) => (name.includes(id) ? [join(dir, name)] : cgroupsNamed(join(dir, name), id)))
}

function processesWith(id: string, mark: string): string[] {
  return list('/proc')
    .filter(({ name }) => /^\d+$/.test(name))
    .filter(({ name }) => read(name, 'cmdline').includes(id) || read(name, 'environ').split('\0').includes(mark))
    .map(({ name }) => `${name} ${read(name, 'cmdline').replaceAll('\0', ' ')}`)
}

// Processes and cgroups may vanish while they are looked at (ENOENT, ESRCH, ENODEV): then they are not left.
function list(dir: string) {
  try {
    return readdirSync(dir, { withFileTypes: true })
  } catch {
    return []
  }
}

function read(pid: string, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return ''
  }
}

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isOfFormat, parseBinaryFormat, programHeader } from '../linux/binfmt.ts'

const BINFMT_MISC = '/proc/sys/fs/binfmt_misc'
/** What Linux runs without help on a machine, by Node's name of it. */
const NATIVE: Readonly<Record<string, readonly string[]>> = { x64: ['amd64', '386'], arm64: ['arm64', 'arm'] }

/**
 * Why this machine can't run the programs of an architecture (Go's name), with what to do; null: it can, by itself or with an interpreter in
 * binfmt_misc that containers can use too.
 */
export function foreignArchitectureProblem(architecture: string, directory: string = BINFMT_MISC): string | null {
  if (NATIVE[process.arch]?.includes(architecture) ?? false) return null
  const header = programHeader(architecture)
  const entries = entriesOf(directory)
  if (entries === null)
    return `binfmt_misc is not mounted, so no interpreter for ${architecture} is known; mount -t binfmt_misc binfmt_misc ${BINFMT_MISC}, and register one (Debian: qemu-user-static)`
  const formats = entries.flatMap(text => parseBinaryFormat(text) ?? [])
  const fitting = formats.filter(format => format.isEnabled && header !== null && isOfFormat(header, format))
  if (fitting.some(({ flags }) => flags.includes('F'))) return null
  const [unfixed] = fitting
  if (unfixed !== undefined)
    return `the interpreter for ${architecture}, "${unfixed.interpreter}", is registered in binfmt_misc without the flag F, so that it is not found in containers; register it again with it`
  return `no interpreter for ${architecture} is registered in binfmt_misc; register one with the flag F (Debian: qemu-user-static)`
}

/** The entries' texts; null: it is not mounted. */
function entriesOf(directory: string): readonly string[] | null {
  try {
    const names = readdirSync(directory)
    if (!names.includes('register')) return null
    return names.filter(name => name !== 'register' && name !== 'status').flatMap(name => textOf(join(directory, name)))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

function textOf(path: string): string[] {
  try {
    return [readFileSync(path, 'utf8')]
  } catch (error) {
    // It was unregistered just now.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

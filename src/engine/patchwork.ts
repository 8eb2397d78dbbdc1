import {
  accessSync,
  chmodSync,
  constants,
  copyFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Patch, VeilEntry } from '../runtime/container-input.ts'

/** A root filesystem put together from pieces of another: see `RootSource`. */
export interface Patchwork {
  readonly patches: readonly Patch[]
  /** Made in the root directory itself, in this order. Paths are absolute inside the container. */
  readonly directories: readonly { readonly path: string; readonly mode: number }[]
  readonly links: readonly { readonly path: string; readonly target: string }[]
  readonly copies: readonly string[]
}

/** What a patchwork is made from. */
export interface PatchworkInput {
  /** Absolute; the tree to show. */
  readonly lower: string
  readonly upper: string
  readonly work: string
  readonly veil: readonly VeilEntry[]
  /** Absolute paths on the host. */
  readonly mountPoints: readonly string[]
}

/** Only files beside a mount point are copied: generated ones and settings, which are short. */
const COPY_LIMIT_BYTES = 1024 * 1024

/** Whether the kernel refuses an overlay over a tree in a user namespace: something is mounted in it. */
export function hasMounts(lower: string, mountPoints: readonly string[]): boolean {
  return mountPoints.some(each => isBelow(each, lower))
}

function isBelow(path: string, parent: string): boolean {
  return path.startsWith(parent === '/' ? '/' : `${parent}/`) && path !== parent
}

/** Reads a tree as far down as there are mounts in it. What the user may not read is left out. */
export function readPatchwork(input: PatchworkInput): Patchwork {
  const work: { patches: Patch[]; directories: { path: string; mode: number }[] } = { patches: [], directories: [] }
  const links: { path: string; target: string }[] = []
  const copies: string[] = []
  const veiled = new Map(input.veil.map(entry => [entry.path, entry.kind]))
  const walk = (parent: string): void => {
    for (const { name } of readdirSync(join(input.lower, parent), { withFileTypes: true })) {
      const path = join(parent, name)
      if (veiled.get(path) === 'hidden') continue
      const host = join(input.lower, path)
      const stat = lstatSync(host)
      if (stat.isSymbolicLink()) links.push({ path, target: readlinkSync(host) })
      else if (stat.isFile() && stat.size <= COPY_LIMIT_BYTES && isAllowed(host, constants.R_OK)) copies.push(path)
      if (!stat.isDirectory()) continue
      work.directories.push({ path, mode: stat.mode & 0o7777 })
      const hasContent = veiled.get(path) !== 'empty' && !input.mountPoints.includes(host)
      if (!hasContent || !isAllowed(host, constants.R_OK | constants.X_OK)) continue
      if (hasMounts(host, input.mountPoints)) walk(path)
      else work.patches.push(patchAt(input, path, work.patches.length))
    }
  }
  walk('/')
  return { ...work, links, copies }
}

function patchAt({ lower, upper, work, veil }: PatchworkInput, target: string, index: number): Patch {
  const entries = veil
    .filter(({ path }) => isBelow(path, target))
    .map(entry => ({ ...entry, path: entry.path.slice(target.length) }))
  // The upper directory of each is where it is mounted in the root, so that together they are what the container has changed.
  return {
    target,
    lowers: [join(lower, target)],
    upper: join(upper, target),
    work: join(work, String(index)),
    veil: { owner: 0, entries },
  }
}

function isAllowed(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    // Not being allowed is the answer.
    return false
  }
}

/** Makes the root directory of a patchwork. */
export function makePatchwork({ directories, links, copies, patches }: Patchwork, input: PatchworkInput): void {
  // The container's root must be able to change what is in them, whatever the owner may on the host.
  for (const { path, mode } of directories) {
    mkdirSync(join(input.upper, path))
    chmodSync(join(input.upper, path), mode | 0o700)
  }
  for (const { path, target } of links) symlinkSync(target, join(input.upper, path))
  for (const path of copies) copyFileSync(join(input.lower, path), join(input.upper, path))
  for (const { work } of patches) mkdirSync(work, { recursive: true })
}

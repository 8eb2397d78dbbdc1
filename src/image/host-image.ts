import { existsSync, realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { BerthError } from '../lib/error.ts'
import type { VeilEntry } from '../runtime/container-input.ts'
import { bareConfig, type RunnableImage } from './image.ts'

/** What of the machine stays out of the `host` image: secrets of the machine. Berth's own state is added. */
const HIDDEN: readonly string[] = [
  '/etc/shadow',
  '/etc/shadow-',
  '/etc/gshadow',
  '/etc/gshadow-',
  '/etc/ssh',
  '/etc/ssl/private',
  '/etc/sudoers.d',
  '/etc/docker',
  '/swapfile',
]

/** Directories that programs expect, and whose content is people's, or this boot's. */
const EMPTY: readonly string[] = ['/root', '/home', '/tmp', '/run', '/boot', '/mnt', '/media', '/srv', '/var/tmp']

/**
 * The embedded default image: the machine's own root filesystem, read-only below each container's layer, under a veil that hides
 * what is private. It needs no network, no registry and no disk.
 */
export function openHostImage(dataRoot: string): RunnableImage {
  return {
    name: 'host',
    config: hostConfig(),
    lowers: ['/'],
    veil: veil([...HIDDEN, dataRoot]),
  }
}

/** What a container of the machine's root filesystem runs when nothing is said. */
export function hostConfig(): RunnableImage['config'] {
  return bareConfig(existsSync('/bin/bash') ? '/bin/bash' : '/bin/sh')
}

/**
 * An image of the store as what it is: a layer on top of the machine's root filesystem. Only for what the records of this machine say
 * to be one; see decision 0010.
 * @throws {BerthError} invalidArgument: it has not one layer, so that `commit` has not made it
 */
export function putOnHost(image: RunnableImage, dataRoot: string): RunnableImage {
  const [seed, ...more] = image.lowers
  if (seed === undefined || more.length > 0)
    throw new BerthError(
      'invalidArgument',
      `Cannot run image "${image.name}" on top of "host": it has ${image.lowers.length} layers, expected one`,
    )
  const { lowers, veil: hidden } = openHostImage(dataRoot)
  return { ...image, lowers, seed, ...(hidden !== undefined && { veil: hidden }) }
}

/** What to tell who sends such an image elsewhere. */
export function onHostWarning(name: string): string {
  return `"${name}" is on top of this machine's root filesystem, which does not go with it: elsewhere it is its layer alone`
}

function veil(hidden: readonly string[]): readonly VeilEntry[] {
  const entries = new Map<string, VeilEntry>()
  const parents = (path: string): void => {
    const parent = dirname(path)
    if (parent === '/' || entries.has(parent)) return
    parents(parent)
    entries.set(parent, { kind: 'parent', path: parent, mode: modeOf(parent) })
  }
  for (const path of EMPTY.filter(isDirectory).map(each => realpathSync(each))) {
    parents(path)
    entries.set(path, { kind: 'empty', path, mode: modeOf(path) })
  }
  for (const path of hidden.filter(each => existsSync(each))) {
    if (EMPTY.some(empty => path.startsWith(`${empty}/`))) continue
    parents(path)
    entries.set(path, { kind: 'hidden', path, mode: 0 })
  }
  return [...entries.values()]
}

function modeOf(path: string): number {
  return statSync(path).mode & 0o7777
}

/** Through links: where /home is one, what it points to is what must be hidden. */
function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

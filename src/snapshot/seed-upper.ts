import { O_DIRECTORY, O_PATH, S_IFCHR } from '../linux/open-flags.ts'
import { type Slot, SlotTable } from '../plan/slots.ts'
import { hostPlan, type Plan, type Step, step } from '../plan/step.ts'
import { dieWithParent, dropPrivileges, enterTree, leaveHost, takeTree } from './confined-plan.ts'
import { mergeSteps, runConfined } from './merge-layers.ts'
import { overlayMark } from './overlay-marks.ts'
import { readTree, type TreeSink } from './pack-process.ts'
import type { VeilEntry } from './root-source.ts'
import type { RootIds, Seed } from './snapshot-driver.ts'
import { isDirectory, type TreeEntry } from './tree-entry.ts'

/** What a layer has at a path. `other`: something that hides what lower layers have there, such as a file or a whiteout. */
export type SeedPlace = 'directory' | 'opaque' | 'other'

/** In the container's directory, while files with several names are copied. */
const LINKS = 'seed-links'

/**
 * Fills a container's upper directory, which is empty, with a layer: owners shifted into its ids, whiteouts and opaque directories as they
 * are, and with the veil, which nothing in the layer lifts. All by a process that reaches nothing but the container's directory and, to read, the layer.
 * On throw a part may be there.
 * @throws {StepError} @throws the reason of `signal`
 */
export async function seedUpper(
  directory: string,
  seed: Seed,
  ids: RootIds | null,
  signal?: AbortSignal,
): Promise<void> {
  const places = new PlaceFinder(seed.veil)
  await readTree({ root: { kind: 'directory', path: seed.path }, lowers: [], withContent: false }, places, signal)
  await runConfined(seedPlan(directory, seed, places.found, ids), signal)
}

/** The plan of {@link seedUpper}; `found` is what the layer has at the paths of the veil and above them, as byte strings. */
export function seedPlan(
  directory: string,
  { path, veil }: Seed,
  found: ReadonlyMap<string, SeedPlace>,
  ids: RootIds | null,
): Plan {
  const places = veil.map(entry => [entry, placeOf(entry.path, found)] as const)
  const slots = new SlotTable()
  const [target, layer] = [slots.allocate("the container's directory"), slots.allocate('layer')]
  const [upper, links] = [slots.allocate('upper'), slots.allocate('links')]
  const flags = O_PATH | O_DIRECTORY
  const idStart = ids?.start ?? 0
  const steps = [
    dieWithParent('stop when nobody waits for it any more'),
    ...leaveHost('leave the network and the mounts of the host'),
    ...takeTree(path, layer, { readonly: true }, 'the layer'),
    ...takeTree(directory, target, { readonly: false }, "the container's directory"),
    ...enterTree(target),
    ...dropPrivileges('writing'),
    step('open', { path: 'upper', flags, mode: 0, out: upper }, 'find the upper directory'),
    ...places.flatMap(([entry, place]) => veilSteps(entry, place, upper, idStart)),
    ...mergeSteps(
      { name: LINKS, slot: links },
      { from: layer, to: upper, ids, base: null, keepMarks: 1 },
      'begin with the layer, and with what it hides',
    ),
    ...places.flatMap(([entry, place]) => closeSteps(entry, place, upper)),
  ]
  return hostPlan(steps, slots.count)
}

/** Notes what a layer has where a veil comes. */
class PlaceFinder implements TreeSink {
  readonly isFull = false
  readonly found = new Map<string, SeedPlace>()
  readonly #wanted: ReadonlySet<string>

  constructor(veil: readonly VeilEntry[]) {
    this.#wanted = new Set(veil.flatMap(({ path }) => prefixesOf(path)))
  }

  entry(entry: TreeEntry): void {
    if (!this.#wanted.has(entry.path)) return
    const isOpaque = overlayMark(entry) === 'opaque'
    this.found.set(entry.path, isDirectory(entry) ? (isOpaque ? 'opaque' : 'directory') : 'other')
  }

  segment(): void {}
  data(): void {}
  missing(): void {}
  end(): void {}
  async drain(): Promise<void> {}
}

/** `/a/b`: `a`, `a/b`; byte strings. */
function prefixesOf(path: string): readonly string[] {
  const names = Buffer.from(path.slice(1)).toString('latin1').split('/')
  return names.map((_, index) => names.slice(0, index + 1).join('/'))
}

/** What the layer has at a path of the veil; null: nothing; `other` too where nothing of the machine is seen because of what is above it. */
function placeOf(path: string, places: ReadonlyMap<string, SeedPlace>): SeedPlace | null {
  const prefixes = prefixesOf(path)
  for (const [index, prefix] of prefixes.entries()) {
    const place = places.get(prefix) ?? null
    const isLast = index === prefixes.length - 1
    if (place === null || place === 'other' || isLast) return place
    if (place === 'opaque') return 'other'
  }
  return null
}

/**
 * What the veil has where the layer has nothing, or a directory that is not to hide anything. What the layer has in its way will take its
 * place: that is the container's own. It comes before the layer, so that directories of the layer keep their times.
 */
function veilSteps({ kind, path, mode }: VeilEntry, place: SeedPlace | null, upper: Slot, owner: number): Step[] {
  // No step goes through a link of the layer: what is below one is `other`.
  if (place === 'other' || place === 'opaque' || (kind === 'hidden' && place === 'directory')) return []
  const name = path.slice(1)
  if (kind === 'hidden') {
    const whiteout = { root: upper, path, type: S_IFCHR, mode: 0, major: 0, minor: 0, uid: 0, gid: 0 }
    return [step('mknod', whiteout, `hide ${path}`)]
  }
  const why = kind === 'empty' ? `show an empty ${path}` : `make the way to what is hidden in ${path}`
  return [
    step('mkdir', { dir: upper, path: name, mode: 0o700 }, why),
    step('chown', { fd: upper, path: name, uid: owner, gid: owner }, "give it to the container's root"),
    step('chmod', { fd: upper, path: name, mode }, 'with its usual mode'),
    ...(kind === 'empty' && place === null ? [opaqueStep(path, upper)] : []),
  ]
}

/** A directory of the layer's own must not be merged with one of the machine that is hidden. This hides more, never less. */
function closeSteps({ kind, path }: VeilEntry, place: SeedPlace | null, upper: Slot): Step[] {
  return kind !== 'parent' && place === 'directory' ? [opaqueStep(path, upper)] : []
}

function opaqueStep(path: string, upper: Slot): Step {
  return step(
    'setxattr',
    { dir: upper, path: path.slice(1), name: 'trusted.overlay.opaque', value: 'y' },
    `let nothing of the machine shine through ${path}`,
  )
}

import { BerthError } from '../../lib/error.ts'
import type { DebPackage, PackageIndex } from './package-index.ts'
import { type Alternatives, isVersionOf, type PackageNeed } from './relation.ts'

/**
 * The packages of a system: those that every system has, those asked for, and what these need, sorted by name.
 * Like apt without its solver: of alternatives the first that is chosen already counts, else the first that there is. That is all that
 * a distribution's base needs, as its packages are made to be installable together.
 * @throws {BerthError} notFound: the archive has no package that is asked for or needed
 */
export function resolvePackages(index: PackageIndex, wanted: readonly string[]): readonly DebPackage[] {
  const chosen = new Map<string, DebPackage>()
  const queue: DebPackage[] = []
  const choose = (found: DebPackage): void => {
    if (chosen.has(found.name)) return
    chosen.set(found.name, found)
    queue.push(found)
  }
  for (const found of index.base()) choose(found)
  for (const name of wanted) {
    const [found] = index.candidates({ name, version: null })
    if (found === undefined) throw new BerthError('notFound', `Cannot find package "${name}": no archive has it`)
    choose(found)
  }
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    for (const alternatives of [...next.preDepends, ...next.depends]) choose(fulfil(next, alternatives, index, chosen))
  }
  return [...chosen.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

function fulfil(
  by: DebPackage,
  alternatives: Alternatives,
  index: PackageIndex,
  chosen: ReadonlyMap<string, DebPackage>,
): DebPackage {
  const candidates = alternatives.flatMap(need => index.candidates(need))
  const found = candidates.find(each => chosen.has(each.name)) ?? candidates[0]
  if (found !== undefined) return found
  const shown = alternatives.map(printNeed).join(' | ')
  throw new BerthError('notFound', `Cannot choose packages: ${by.name} needs ${shown}, and no archive has it`)
}

function printNeed({ name, version }: PackageNeed): string {
  return version === null ? name : `${name} (${version.operator} ${version.value})`
}

/**
 * The packages in an order in which each comes after those that must be configured before it is unpacked.
 * @throws {BerthError} conflict: they wait for each other
 */
export function orderByPreDepends(packages: readonly DebPackage[]): readonly DebPackage[] {
  const ordered: DebPackage[] = []
  const state = new Map<DebPackage, 'open' | 'done'>()
  const visit = (each: DebPackage): void => {
    if (state.get(each) === 'done') return
    if (state.get(each) === 'open')
      throw new BerthError('conflict', `Cannot order packages: ${each.name} must be configured before itself`)
    state.set(each, 'open')
    for (const alternatives of each.preDepends) {
      const found = packages.find(other => alternatives.some(need => fits(need, other)))
      if (found !== undefined) visit(found)
    }
    state.set(each, 'done')
    ordered.push(each)
  }
  for (const each of packages) visit(each)
  return ordered
}

function fits(need: PackageNeed, { name, version }: DebPackage): boolean {
  return need.name === name && isVersionOf(need, version)
}

import { BerthError } from '../../lib/error.ts'
import keyrings from './data/archive-keyrings.json' with { type: 'json' }

/** One suite of an archive, of which packages are taken. */
export interface Suite {
  /** URL of the archive, without a slash at its end. */
  readonly archive: string
  readonly name: string
}

/** Where a distribution's packages come from. */
export interface Distribution {
  readonly name: 'debian' | 'ubuntu'
  /** What it is called by the archive: `bookworm`, `noble`. */
  readonly codename: string
  /** The first has all packages, the others newer ones of some. */
  readonly suites: readonly Suite[]
  readonly components: readonly string[]
  /** Binary OpenPGP keyring. */
  readonly keyring: Uint8Array
}

/** How to choose where packages come from. */
export interface ArchiveOptions {
  /** Debian's name of it: `amd64`. */
  readonly architecture: string
  /** Another archive than the distribution's own, for all suites. */
  readonly mirror: string | null
  /** As of when, `20260101T000000Z`; null: as of now. */
  readonly snapshot: string | null
}

interface KnownDistribution {
  readonly name: Distribution['name']
  /** Names of suites that mean another. */
  readonly aliases: Readonly<Record<string, string>>
  readonly components: readonly string[]
  readonly suites: (suite: string, options: ArchiveOptions) => readonly Suite[]
}

const SUITE = /^[a-z][a-z-]{1,31}$/
const SNAPSHOT = /^\d{8}T\d{6}Z$/
/** Ubuntu has its main architectures in one archive and all others in another. */
const UBUNTU_MAIN: readonly string[] = ['amd64', 'i386']

/** An archive of the domain of a distribution; those of the past are at another host. */
function archiveAt(domain: string, host: string, path: string): string {
  return `http://${host}.${domain}/${path}`
}

const KNOWN: readonly KnownDistribution[] = [
  {
    name: 'debian',
    aliases: { latest: 'stable', '11': 'bullseye', '12': 'bookworm', '13': 'trixie' },
    components: ['main'],
    suites: (suite, { mirror, snapshot }) => {
      const archiveOf = (path: string): string => {
        if (mirror !== null) return mirror
        if (snapshot === null) return archiveAt('debian.org', 'deb', path)
        return archiveAt('debian.org', 'snapshot', `archive/${path}/${snapshot}`)
      }
      const main = { archive: archiveOf('debian'), name: suite }
      if (suite === 'sid' || suite === 'unstable') return [main]
      const updates = { ...main, name: `${suite}-updates` }
      return [main, updates, { archive: archiveOf('debian-security'), name: `${suite}-security` }]
    },
  },
  {
    name: 'ubuntu',
    aliases: { '20.04': 'focal', '22.04': 'jammy', '24.04': 'noble' },
    components: ['main', 'universe'],
    suites: (suite, { architecture, mirror, snapshot }) => {
      const [host, path] = UBUNTU_MAIN.includes(architecture) ? ['archive', 'ubuntu'] : ['ports', 'ubuntu-ports']
      const own =
        snapshot === null
          ? archiveAt('ubuntu.com', host, path)
          : archiveAt('ubuntu.com', 'snapshot', `${path}/${snapshot}`)
      return ['', '-updates', '-security'].map(pocket => ({ archive: mirror ?? own, name: `${suite}${pocket}` }))
    },
  },
]

/**
 * The distribution that an image's name and tag stand for, such as `debian` and `bookworm`.
 * @throws {BerthError} notFound: none of that name; invalidArgument: no suite's name, no URL, no time
 */
export function findDistribution(name: string, tag: string, options: ArchiveOptions): Distribution {
  const known = KNOWN.find(each => each.name === name)
  if (known === undefined) {
    const names = KNOWN.map(each => each.name).join(', ')
    throw new BerthError('notFound', `Cannot bootstrap "${name}": expected one of ${names}`)
  }
  const suite = Object.hasOwn(known.aliases, tag) ? (known.aliases[tag] ?? tag) : tag
  if (!SUITE.test(suite))
    throw new BerthError('invalidArgument', `Cannot bootstrap "${name}:${tag}": it is no name of a suite`)
  const { mirror, snapshot } = options
  if (snapshot !== null && !SNAPSHOT.test(snapshot))
    throw new BerthError(
      'invalidArgument',
      `Cannot use snapshot "${snapshot}": expected a time such as 20260101T000000Z`,
    )
  if (mirror !== null && !(URL.canParse(mirror) && /^https?:$/.test(new URL(mirror).protocol)))
    throw new BerthError('invalidArgument', `Cannot use mirror "${mirror}": expected an http or https URL`)
  return {
    name: known.name,
    codename: suite,
    suites: known.suites(suite, { ...options, mirror: mirror?.replace(/\/+$/, '') ?? null }),
    components: known.components,
    keyring: Buffer.from(keyrings[known.name], 'base64'),
  }
}

import { parseArgs } from 'node:util'
import { type NamespaceScan, scanNamespaces } from '../host/namespaces.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { groupNamespaces, type Namespace } from '../linux/namespace-tree.ts'
import { NAMESPACES, type NamespaceType, namespaceOfProcName, namespaceOfType } from '../linux/namespaces.ts'
import { namespaceJson, namespaceTable, namespaceTreeText } from './ns-print.ts'
import { type TableOptions, tableOptionsOf } from './table.ts'

const NS_USAGE = `Usage: berth ns [OPTIONS] [PID]

Shows every namespace on the machine, who is in it, what keeps it and where it is nested; with a PID, those of that process.

  -t, --type TYPE   only this kind (${NAMESPACES.map(kind => kind.type).join(', ')}); may be repeated
      --tree        user and PID namespaces as they are nested, with what each user namespace owns
      --json        everything, for programs
`

/** What `berth ns` takes from its surroundings; all of it may be left out. */
export interface NsOptions {
  /** The container that a process belongs to, if any. */
  readonly containerOf?: (pid: number) => string | undefined
  readonly scan?: () => Promise<NamespaceScan>
  readonly layout?: TableOptions
}

/**
 * `berth ns`. Returns the exit status.
 * @throws {BerthError} invalidArgument: options that do not exist; notFound: no such process, or it may not be seen
 */
export async function nsCommand(
  args: readonly string[],
  out: (text: string) => void,
  options: NsOptions = {},
): Promise<number> {
  const request = parseRequest(args)
  if (request === 'help') {
    out(NS_USAGE)
    return 0
  }
  const scan = await (options.scan ?? scanNamespaces)()
  const all = groupNamespaces(scan)
  const chosen = choose(all, request)
  const containers = containersOf(all, options.containerOf)
  if (request.form === 'json') {
    out(namespaceJson(chosen, containers, scan))
    return 0
  }
  const layout = options.layout ?? tableOptionsOf(process.stdout)
  out(request.form === 'tree' ? namespaceTreeText(chosen, containers) : namespaceTable(chosen, containers, layout))
  for (const note of notes(scan)) out(`note: ${note}\n`)
  return 0
}

interface Request {
  readonly types: ReadonlySet<NamespaceType> | null
  readonly form: 'table' | 'tree' | 'json'
  readonly pid: number | null
}

function parseRequest(args: readonly string[]): Request | 'help' {
  const { values, positionals } = parse(args)
  if (values.help === true) return 'help'
  if (values.tree === true && values.json === true)
    throw new BerthError('invalidArgument', 'Cannot use "--tree" with "--json": the JSON has owners and parents')
  const [pidText, extra] = positionals
  if (extra !== undefined)
    throw new BerthError('invalidArgument', `Cannot use argument "${extra}": expected at most one PID`)
  if (pidText !== undefined && !/^[1-9]\d{0,9}$/.test(pidText))
    throw new BerthError('invalidArgument', `Cannot use "${pidText}": expected a process id`)
  return {
    types: values.type === undefined ? null : new Set(values.type.flatMap(each => each.split(',')).map(typeOf)),
    form: values.tree === true ? 'tree' : values.json === true ? 'json' : 'table',
    pid: pidText === undefined ? null : Number(pidText),
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        type: { type: 'string', short: 't', multiple: true },
        tree: { type: 'boolean' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    throw new BerthError('invalidArgument', `Cannot run "berth ns": ${messageOf(error)}`, { cause: error })
  }
}

function typeOf(text: string): NamespaceType {
  // The kernel's short names (mnt, net) are what lsns(8) and /proc say.
  const found = namespaceOfType(text) ?? namespaceOfProcName(text)
  if (found === undefined)
    throw new BerthError(
      'invalidArgument',
      `Cannot show namespaces of type "${text}": expected one of ${NAMESPACES.map(kind => kind.type).join(', ')}`,
    )
  return found.type
}

function choose(all: readonly Namespace[], request: Request): readonly Namespace[] {
  const { pid, types } = request
  const own = pid === null ? all : all.filter(each => each.members.some(member => member.pid === pid))
  if (own.length === 0 && pid !== null)
    throw new BerthError('notFound', `Cannot show namespaces of process "${pid}": no such process, or it is hidden`)
  const typed = types === null ? own : own.filter(each => types.has(each.type))
  return request.form === 'tree' ? withAncestors(all, typed) : typed
}

/** A tree also needs the namespaces in which those to be shown are nested. */
function withAncestors(all: readonly Namespace[], chosen: readonly Namespace[]): readonly Namespace[] {
  const byInode = new Map(all.map(each => [each.inode, each]))
  const wanted = new Set<Namespace>()
  const add = (namespace: Namespace | undefined): void => {
    if (namespace === undefined || wanted.has(namespace)) return
    wanted.add(namespace)
    if (namespace.owner !== null) add(byInode.get(namespace.owner))
    if (namespace.parent !== null) add(byInode.get(namespace.parent))
  }
  chosen.forEach(add)
  return all.filter(each => wanted.has(each))
}

/** The containers in each namespace, by its inode. */
function containersOf(
  namespaces: readonly Namespace[],
  containerOf: NsOptions['containerOf'],
): ReadonlyMap<number, readonly string[]> {
  if (containerOf === undefined) return new Map()
  const ids = new Map<number, string | undefined>()
  const idOf = (pid: number): string | undefined => {
    if (!ids.has(pid)) ids.set(pid, containerOf(pid))
    return ids.get(pid)
  }
  return new Map(
    namespaces.map(({ inode, members }) => {
      const found = members.map(member => idOf(member.pid)).filter(id => id !== undefined)
      return [inode, [...new Set(found)]]
    }),
  )
}

function notes(scan: NamespaceScan): string[] {
  const { hiddenProcessCount, hiddenHolderCount, hiddenFamilyCount, familyError } = scan
  const all: string[] = []
  if (hiddenProcessCount > 0)
    all.push(`the namespaces of ${count(hiddenProcessCount, 'process')} are hidden from this user`)
  if (hiddenHolderCount > 0)
    all.push(
      `open files or mounts of ${count(hiddenHolderCount, 'process')} are hidden, so namespaces kept by them alone are missing`,
    )
  if (familyError !== null) all.push(`owners and parents are not known: ${familyError}`)
  else if (hiddenFamilyCount > 0)
    all.push(`owner or parent of ${count(hiddenFamilyCount, 'namespace')} is hidden from this user`)
  return all
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : noun.endsWith('s') ? 'es' : 's'}`
}

import type { Process } from '../oci/runtime-spec.ts'

/** What an exec changes about the process it starts from; undefined leaves it. */
export interface ProcessChanges {
  /** Empty leaves those of a process file. */
  readonly args: readonly string[]
  readonly cwd?: string | undefined
  /** Added, each `NAME=value`; a later one wins over an earlier one of the same name. */
  readonly env: readonly string[]
  readonly user?: { readonly uid: number; readonly gid?: number } | undefined
  /** Added. */
  readonly additionalGids: readonly number[]
  /** Added to the bounding, effective and permitted sets. */
  readonly capabilities: readonly string[]
  readonly apparmorProfile?: string | undefined
  readonly selinuxLabel?: string | undefined
  readonly noNewPrivileges?: boolean | undefined
  readonly terminal?: boolean | undefined
}

/**
 * The process of an exec that starts from the container's own (config.json): with its user, environment, limits and labels, but without
 * its terminal unless asked for. That is what runc does.
 */
export function processFromConfig(own: Process, changes: ProcessChanges): Process {
  return changeProcess({ ...own, terminal: false, args: [] }, changes)
}

/** The same for a process that was read from a file. */
export function changeProcess(process: Process, changes: ProcessChanges): Process {
  const { args, cwd, apparmorProfile, selinuxLabel, noNewPrivileges, terminal } = changes
  return {
    ...process,
    ...(args.length > 0 && { args }),
    ...(cwd !== undefined && { cwd }),
    ...(apparmorProfile !== undefined && { apparmorProfile }),
    ...(selinuxLabel !== undefined && { selinuxLabel }),
    ...(noNewPrivileges !== undefined && { noNewPrivileges }),
    ...(terminal !== undefined && { terminal }),
    env: changeEnvironment(process.env ?? [], changes.env),
    user: changeUser(process.user, changes),
    ...(changes.capabilities.length > 0 && {
      capabilities: addCapabilities(process.capabilities, changes.capabilities),
    }),
  }
}

/** Of two entries with one name getenv(3) finds the first, so the earlier one goes. */
function changeEnvironment(own: readonly string[], added: readonly string[]): readonly string[] {
  const nameOf = (entry: string): string => entry.slice(0, Math.max(0, entry.indexOf('=')))
  const byName = new Map<string, string>()
  for (const entry of added) byName.set(nameOf(entry), entry)
  return [...own.filter(entry => !byName.has(nameOf(entry))), ...byName.values()]
}

function changeUser(own: Process['user'], { user, additionalGids }: ProcessChanges): NonNullable<Process['user']> {
  return {
    ...own,
    ...user,
    ...(additionalGids.length > 0 && { additionalGids: [...(own?.additionalGids ?? []), ...additionalGids] }),
  }
}

function addCapabilities(own: Process['capabilities'], names: readonly string[]): NonNullable<Process['capabilities']> {
  const add = (set: readonly string[] | undefined): readonly string[] => [...new Set([...(set ?? []), ...names])]
  return {
    ...own,
    bounding: add(own?.bounding),
    effective: add(own?.effective),
    permitted: add(own?.permitted),
  }
}

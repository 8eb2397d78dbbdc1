/** The 16 resource limits. Source: getrlimit(2), include/uapi/asm-generic/resource.h. */

/** All limits; the index is the number. */
export const RLIMITS = [
  'RLIMIT_CPU',
  'RLIMIT_FSIZE',
  'RLIMIT_DATA',
  'RLIMIT_STACK',
  'RLIMIT_CORE',
  'RLIMIT_RSS',
  'RLIMIT_NPROC',
  'RLIMIT_NOFILE',
  'RLIMIT_MEMLOCK',
  'RLIMIT_AS',
  'RLIMIT_LOCKS',
  'RLIMIT_SIGPENDING',
  'RLIMIT_MSGQUEUE',
  'RLIMIT_NICE',
  'RLIMIT_RTPRIO',
  'RLIMIT_RTTIME',
] as const

/** A limit's full name, such as `RLIMIT_NOFILE`. */
export type Rlimit = (typeof RLIMITS)[number]

/** "No limit" as prlimit(2) writes it: all 64 bits set. */
export const RLIM_INFINITY = 0xffff_ffff_ffff_ffffn

/** Whether `name` is a limit, spelled as the OCI config spells it. */
export function isRlimit(name: string): name is Rlimit {
  return (RLIMITS as readonly string[]).includes(name)
}

/** The number of a limit, 0 to 15. */
export function rlimitNumber(name: Rlimit): number {
  return RLIMITS.indexOf(name)
}

/** The name of a limit's number, or undefined. */
export function rlimitName(number: number): Rlimit | undefined {
  return RLIMITS[number]
}

/** Reads a limit as people type it: `nofile`, `NOFILE` and `RLIMIT_NOFILE` are the same; undefined when there is none. */
export function parseRlimit(text: string): Rlimit | undefined {
  const upper = text.toUpperCase()
  const name = upper.startsWith('RLIMIT_') ? upper : `RLIMIT_${upper}`
  return isRlimit(name) ? name : undefined
}

/**
 * Slots: the numbered places in which berth-init keeps file descriptors, so that a plan can name an fd before it exists.
 *
 * The first ones are fixed: the container's stdin, stdout and stderr, then the fds handed through by `--preserve-fds`.
 */
export interface Slot {
  readonly index: number
  /** What the fd is, for the printed plan. */
  readonly name: string
}

/** The container's own stdio as the launcher received it (its fds 3, 4 and 5). */
export const STDIN: Slot = { index: 0, name: 'stdin' }
export const STDOUT: Slot = { index: 1, name: 'stdout' }
export const STDERR: Slot = { index: 2, name: 'stderr' }

/** Hands out slots for one plan. */
export class SlotTable {
  #count: number

  /** `preservedFds`: how many fds beyond stdio the launcher receives; their slots are 3, 4, … */
  constructor(preservedFds = 0) {
    this.#count = 3 + preservedFds
  }

  /** The slot of the n-th preserved fd, which the container shall see as fd 3 + n. */
  preserved(n: number): Slot {
    return { index: 3 + n, name: `preserved${n}` }
  }

  allocate(name: string): Slot {
    return { index: this.#count++, name }
  }

  get count(): number {
    return this.#count
  }
}

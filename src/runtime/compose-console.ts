import { OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE } from '../linux/mount-flags.ts'
import { AT_EMPTY_PATH, O_DIRECTORY, O_PATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from '../linux/open-flags.ts'
import type { ConsoleSize, Process } from '../oci/runtime-spec.ts'
import type { Slot } from '../plan/slots.ts'
import { step } from '../plan/step.ts'
import { attach } from './attach.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** A terminal made for the process: the slave is its stdio, the master goes to whoever talks to it. */
export interface Console {
  readonly master: Slot
  readonly slave: Slot
}

const NO_SIZE: ConsoleSize = { height: 0, width: 0 }

/**
 * Makes a terminal in the devpts of the container, in the child. Everything goes by fd: a slave reopened by its path, or a
 * /dev/console made through a link, has let images reach host files (CVE-2025-52565, CVE-2026-88264).
 * @param root the container's root, or null when the child's own root is it already
 */
export function composeConsole(
  builder: PlanBuilder,
  process: Process,
  root: Slot | null,
  master: Slot | null,
): Console {
  const pts = builder.slots.allocate('devpts')
  const slave = builder.slots.allocate('terminal')
  const console: Console = { master: master ?? builder.slots.allocate('terminal master'), slave }
  const { height, width } = process.consoleSize ?? NO_SIZE
  builder.child.push(
    step(
      'openat2',
      {
        dir: root,
        path: '/dev/pts',
        flags: O_PATH | O_DIRECTORY,
        mode: 0,
        // Without a root fd the child's own root is the container's, and openat2 takes AT_FDCWD's place for it.
        resolve: root === null ? RESOLVE_NO_MAGICLINKS : RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
        out: pts,
      },
      "find the container's devpts",
    ),
    step('openpty', { dir: pts, rows: height, columns: width, master: console.master, slave }, 'make a terminal there'),
    step('chown', { fd: slave, path: '', uid: process.user?.uid ?? 0, gid: -1 }, 'give it to the user of the process'),
  )
  return console
}

/** Shows the terminal at /dev/console, as the spec wants it. */
export function mountConsole(builder: PlanBuilder, root: Slot, { slave }: Console): void {
  const node = builder.slots.allocate('console')
  const target = builder.slots.allocate('target of /dev/console')
  builder.child.push(
    step(
      'open_tree',
      { dir: slave, path: '', flags: OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH, out: node },
      'take the terminal as a detached mount',
    ),
    step('mkfile', { root, path: '/dev/console', mode: 0o620, out: target }, 'make a place for /dev/console'),
    attach(node, target, '/dev/console'),
  )
}

/** Gives the master away: to the console socket, or to the launcher that keeps it. */
export function handOverMaster(builder: PlanBuilder, { master }: Console, consoleSocket: string | null): void {
  builder.child.push(step('send_fd', { fd: master }, "hand the terminal's master to the launcher"))
  builder.parent.push(step('recv_fd', { out: master }, "receive the terminal's master"))
  if (consoleSocket !== null)
    builder.parent.push(
      step('send_fd_to', { socket: consoleSocket, fd: master, data: '' }, 'hand it to the console socket'),
    )
}

import { O_RDONLY } from '../linux/open-flags.ts'
import type { Slot } from '../plan/slots.ts'
import { step } from '../plan/step.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** Fds on their way from the launcher to the child, which takes them in the same order. */
export interface Handover {
  /** A slot of the container's user namespace in the launcher, for idmapped mounts; opened on first use. */
  userNamespace(): Slot
  /** Sends what the launcher has in `slot` to the child's slot of the same number. */
  send(slot: Slot, what: string): void
}

/** Makes the handover of one plan. */
export function handover(builder: PlanBuilder): Handover {
  let userns: Slot | null = null
  return {
    userNamespace() {
      if (userns !== null) return userns
      userns = builder.slots.allocate('user namespace')
      builder.parent.push(
        step(
          'open_child',
          { name: 'ns/user', flags: O_RDONLY, out: userns },
          "find the container's user namespace, for idmapped mounts",
        ),
      )
      return userns
    },
    send(slot, what) {
      builder.parent.push(step('send_fd', { fd: slot }, `hand ${what} to the child`))
      builder.child.push(step('recv_fd', { out: slot }, `receive ${what}`))
    },
  }
}

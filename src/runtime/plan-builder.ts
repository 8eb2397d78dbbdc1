import { SlotTable } from '../plan/slots.ts'
import type { Plan, Step } from '../plan/step.ts'

/** A plan in the making: the composers append to its stages in the order in which they are called. */
export class PlanBuilder {
  readonly slots: SlotTable
  readonly host: Step[] = []
  readonly parent: Step[] = []
  readonly child: Step[] = []
  readonly exec: Step[] = []
  readonly undo: Step[] = []
  #nextTag = 1

  constructor(preservedFds = 0) {
    this.slots = new SlotTable(preservedFds)
  }

  /** A tag for one post/await pair; different for each, so that a lost message is noticed. */
  tag(): number {
    return this.#nextTag++
  }

  finish(): Plan {
    const { host, parent, child, exec, undo } = this
    return { host, parent, child, exec, undo, slotCount: this.slots.count }
  }
}

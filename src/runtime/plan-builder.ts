import { SlotTable } from '../plan/slots.ts'
import { hostPlan, type Plan, type Step, type StepOf } from '../plan/step.ts'

/** A plan in the making: the composers append to its stages in the order in which they are called. */
export class PlanBuilder {
  readonly slots: SlotTable
  readonly host: Step[] = []
  readonly parent: Step[] = []
  readonly child: Step[] = []
  readonly exec: Step[] = []
  readonly undo: Step[] = []
  #nextTag = 1
  #clone: Step | null = null

  constructor(preservedFds = 0) {
    this.slots = new SlotTable(preservedFds)
  }

  /** A tag for one post/await pair; different for each, so that a lost message is noticed. */
  tag(): number {
    return this.#nextTag++
  }

  /** The step that makes the child. It ends the host stage whenever it was composed, so that the child inherits all of its slots. */
  clone(step: StepOf<'clone'>): void {
    this.#clone = step
  }

  /** What there is of the stages of the launcher, as a plan of its own. */
  sofar(): Plan {
    return { ...hostPlan(this.host.slice(), this.slots.count), undo: this.undo.slice() }
  }

  finish(): Plan {
    const { parent, child, exec, undo } = this
    const host = this.#clone === null ? this.host : [...this.host, this.#clone]
    return { host, parent, child, exec, undo, slotCount: this.slots.count }
  }
}

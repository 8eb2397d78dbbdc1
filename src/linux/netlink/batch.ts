import { NetlinkWriter } from './attribute.ts'
import { NETLINK_ROUTE, type NetlinkMessage, NLM_F_ACK, NLM_F_REQUEST, writeMessage } from './message.ts'

const PATCH_BYTES = 16
const PATCH_CHILD_PID = 0
const PATCH_SLOT_FD = 1

/** The arguments of the plan's `netlink` step. */
export interface NetlinkArgs {
  readonly protocol: number
  readonly messages: Uint8Array
  readonly patches: Uint8Array
}

/**
 * Collects messages that berth-init sends in one step, in order, each acknowledged before the step counts as done.
 * A batch is not a transaction: the messages before a refused one have taken effect.
 * Patches are `u32 offset, u32 kind (0 child's pid, 1 slot's fd), i32 slot, u32 zero`: docs/plan-protocol.md, `netlink`.
 */
export class NetlinkBatch {
  readonly #protocol: number
  readonly #writer = new NetlinkWriter()
  #count = 0

  constructor(protocol: number = NETLINK_ROUTE) {
    this.#protocol = protocol
  }

  /** Adds messages; their sequence numbers count from 1. */
  add(...messages: readonly NetlinkMessage[]): this {
    for (const message of messages) {
      const flags = message.flags | NLM_F_REQUEST | NLM_F_ACK
      writeMessage(this.#writer, { ...message, flags }, ++this.#count)
    }
    return this
  }

  get count(): number {
    return this.#count
  }

  args(): NetlinkArgs {
    return { protocol: this.#protocol, messages: this.#writer.finish(), patches: this.#patches() }
  }

  #patches(): Uint8Array {
    const placed = this.#writer.patches
    const bytes = new Uint8Array(placed.length * PATCH_BYTES)
    const view = new DataView(bytes.buffer)
    placed.forEach(({ offsetBytes, value }, position) => {
      const at = position * PATCH_BYTES
      view.setUint32(at, offsetBytes, true)
      view.setUint32(at + 4, value.patch === 'childPid' ? PATCH_CHILD_PID : PATCH_SLOT_FD, true)
      view.setInt32(at + 8, value.patch === 'childPid' ? -1 : value.slot, true)
    })
    return bytes
  }
}

/** The arguments of a step that sends these rtnetlink messages. */
export function netlinkArgs(...messages: readonly NetlinkMessage[]): NetlinkArgs {
  return new NetlinkBatch().add(...messages).args()
}

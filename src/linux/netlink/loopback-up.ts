import type { NetlinkArgs } from './batch.ts'
import { NETLINK_ROUTE } from './message.ts'

/**
 * The step that sets the loopback interface of a new network namespace up: what
 * `netlinkArgs(setLink({ index: LOOPBACK_IFINDEX }, { up: true }))` writes, and a test compares. It is all that most containers need of
 * netlink, and written out it spares the start of a container the writer (1 % of `runtime run`).
 */
export function loopbackUp(): NetlinkArgs {
  const messages = new Uint8Array(32)
  // struct nlmsghdr: length 32, RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, the first of its batch.
  messages[0] = 32
  messages[4] = 16
  messages[6] = 5
  messages[8] = 1
  // struct ifinfomsg: index 1, IFF_UP among the flags, and only that is changed.
  messages[20] = 1
  messages[24] = 1
  messages[28] = 1
  return { protocol: NETLINK_ROUTE, messages, patches: new Uint8Array(0) }
}

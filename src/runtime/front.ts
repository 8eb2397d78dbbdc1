import type { LauncherConnection } from '../host/launch-conversation.ts'

/** Who is called where the plan of a container's end meets more than it was made for. */
export interface Caller {
  /** This program and its arguments, up to the verb of the runtime. */
  readonly command: readonly string[]
  /** As execve(2) takes it. */
  readonly environment: readonly string[]
}

/** A launcher that is our parent: it waits for a container in the foreground, so that we need not. */
export interface Front extends Caller {
  readonly launcher: LauncherConnection & AsyncDisposable
}

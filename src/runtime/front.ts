import type { LauncherConnection } from '../host/launch-conversation.ts'

/** A launcher that is our parent: it waits for a container in the foreground, so that we need not. */
export interface Front {
  readonly launcher: LauncherConnection & AsyncDisposable
  /** This program and its arguments, up to the verb of the runtime: what is called where its plan meets more than it was made for. */
  readonly command: readonly string[]
}

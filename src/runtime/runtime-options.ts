/** What every runtime command is told by the global options. */
export interface RuntimeOptions {
  /** Directory of all containers' state. */
  readonly root: string
  readonly systemdCgroup: boolean
  /** Where warnings go: the log. */
  readonly warn: (message: string) => void
}

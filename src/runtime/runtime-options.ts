/** What every runtime command is told by the global options. */
export interface RuntimeOptions {
  /** Directory of all containers' state. */
  readonly root: string
  readonly systemdCgroup: boolean
  /** Whether to do without a cgroup where there is no right to make one; null: when there are no privileges on the host. */
  readonly rootless?: boolean | null
  /** Takes what is worth knowing when something goes wrong: the plan, and what of the config has no effect. */
  readonly debug?: (message: string) => void
  /** Where warnings go: the log. */
  readonly warn: (message: string) => void
}

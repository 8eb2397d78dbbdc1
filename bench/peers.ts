/** Another program of the same kind, as far as it is on this machine. */
export interface Peer {
  readonly name: string
  /** The first line of `--version`; null: not installed. */
  readonly version: string | null
  /** Why it can't run the benchmark here, in its own words; null when it can. */
  readonly refusal: string | null
}

/** Looks for a program and lets it try a command once. */
export function findPeer(name: string, trial: readonly string[]): Peer {
  if (Bun.which(name) === null) return { name, version: null, refusal: 'not installed' }
  const version = Bun.spawnSync([name, '--version']).stdout.toString().split('\n', 1)[0] ?? ''
  const { exitCode, stderr } = Bun.spawnSync([...trial], { stdout: 'ignore', stderr: 'pipe' })
  if (exitCode === 0) return { name, version, refusal: null }
  return { name, version, refusal: stderr.toString().trim().split('\n').at(-1) ?? `exit status ${exitCode}` }
}

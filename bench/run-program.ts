/** Runs a program to its end and returns what it printed. @throws {Error} its status is not 0; with what it said */
export function runProgram(command: readonly string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command])
  if (exitCode !== 0) throw new Error(`Cannot run ${command.join(' ')}: ${stderr.toString().trim()}`)
  return stdout.toString()
}

import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

interface GeneratedConfig {
  process: { terminal: boolean; args: string[] }
}

/** Makes `DIR/rootfs`: a root filesystem of busybox alone. Returns its path. */
export function makeRootfs(directory: string): string {
  const busybox = Bun.which('busybox')
  if (busybox === null) throw new Error('Cannot make a root filesystem: busybox is not installed')
  const rootfs = join(directory, 'rootfs')
  mkdirSync(join(rootfs, 'bin'), { recursive: true })
  copyFileSync(busybox, join(rootfs, 'bin/busybox'))
  for (const name of ['true', 'sh', 'sleep']) symlinkSync('busybox', join(rootfs, 'bin', name))
  return rootfs
}

/** Makes a bundle of what `runc spec` writes, without a terminal and with these arguments. Returns its path. */
export function makeBundle(directory: string, args: readonly string[]): string {
  mkdirSync(directory, { recursive: true })
  makeRootfs(directory)
  const { exitCode, stderr } = Bun.spawnSync(['runc', 'spec', '--bundle', directory])
  if (exitCode !== 0) throw new Error(`Cannot make bundle "${directory}": ${stderr.toString().trim()}`)
  const file = join(directory, 'config.json')
  const config = JSON.parse(readFileSync(file, 'utf8')) as GeneratedConfig
  config.process.terminal = false
  config.process.args = [...args]
  writeFileSync(file, JSON.stringify(config))
  return directory
}

/** The root filesystem of a conformance test: busybox, the probe, and a few files to look at. */

import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const DIRECTORIES = ['bin', 'etc', 'tmp', 'proc', 'dev', 'sys', 'home/user', 'data/below', 'mnt']
const APPLETS =
  'awk cat chmod chown cut date dd echo env false find grep head hostname id ionice kill ls mkdir mknod mount nproc pwd ' +
  'readlink renice rm sed seq sh sleep sort stat stty sync sysctl tail taskset test touch tr true umount uname wc ip'

/** Compiles the probe and takes busybox, once for the boxes below `base`, which hard-link them. */
export function compileProbe(base: string): void {
  chmodSync(base, 0o755)
  const source = join(import.meta.dir, 'probe.c')
  const { status, stderr } = spawnSync(
    'cc',
    ['-static', '-O1', '-Wall', '-Wextra', '-Werror', '-o', join(base, 'probe'), source],
    {
      encoding: 'utf8',
    },
  )
  if (status !== 0) throw new Error(`cc: ${stderr}`)
  copyFileSync(Bun.which('busybox') ?? '/bin/busybox', join(base, 'busybox'))
  chmodSync(join(base, 'busybox'), 0o755)
}

/** Makes a root filesystem. `base` has the programs. */
export function makeRootfs(path: string, base: string): void {
  for (const dir of DIRECTORIES) mkdirSync(join(path, dir), { recursive: true })
  for (const program of ['busybox', 'probe']) linkSync(join(base, program), join(path, 'bin', program))
  for (const name of APPLETS.split(' ')) symlinkSync('busybox', join(path, 'bin', name))
  writeFileSync(join(path, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n')
  writeFileSync(join(path, 'etc/group'), 'root:x:0:\nuser:x:1000:\n')
  writeFileSync(join(path, 'data/file'), 'content\n')
  writeFileSync(join(path, 'data/below/file'), 'below\n')
  chmodSync(join(path, 'tmp'), 0o1777)
}

import { mkdirSync, rmSync } from 'node:fs'
import { runScript } from './timed-turns.ts'

const LIMIT_MS = 60_000
const SIZE_GIB = 40

/**
 * Mounts an ext4 filesystem with a journal, as most machines have, on a directory that it makes; its blocks are in a file beside it, which
 * the kernel reads and writes without caching them twice. The machine's own filesystem can be anything, with whatever history: ext4 without
 * a journal, for one, is slow to make files for minutes after others were removed. It goes when it is disposed, or with the mount
 * namespace that `bench/run` makes.
 */
export async function mountBenchDisk(directory: string): Promise<AsyncDisposable> {
  const file = `${directory}.ext4`
  mkdirSync(directory)
  await runScript(
    `truncate -s ${SIZE_GIB}G ${file}
    mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 ${file}
    loop=$(losetup --direct-io=on --show -f ${file})
    status=0
    mount -t ext4 $loop ${directory} || status=$?
    losetup -d $loop
    exit $status`,
    LIMIT_MS,
  )
  return {
    async [Symbol.asyncDispose](): Promise<void> {
      await runScript(`umount ${directory}`, LIMIT_MS)
      rmSync(file)
    },
  }
}

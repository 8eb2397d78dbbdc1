import { readFileSync } from 'node:fs'
import { runSteps } from '../host/helper.ts'
import type { RunnableImage } from '../image/image.ts'
import { ENOENT } from '../lib/errno.ts'
import { O_DIRECTORY, O_PATH } from '../linux/open-flags.ts'
import { SlotTable } from '../plan/slots.ts'
import { step } from '../plan/step.ts'
import { type ResolvedUser, resolveUser } from './user.ts'

/** The longest passwd or group file that is read; real ones have some thousand bytes (CVE-2022-1708's class). */
const FILE_LIMIT_BYTES = 1024 * 1024

/**
 * Resolves the user of a container against the image's own files. They are the image's, so they are read by openat2 inside the
 * image: a FIFO, a device or a link to the host in their place is refused (CVE-2024-9676).
 */
export async function resolveImageUser(
  text: string,
  groupAdd: readonly string[],
  image: RunnableImage,
): Promise<ResolvedUser> {
  const [passwd, group] = image.name === 'host' ? readHostFiles() : await readImageFiles(image)
  return resolveUser(text, groupAdd, passwd, group)
}

function readHostFiles(): [string, string] {
  return [readFileSync('/etc/passwd', 'utf8'), readFileSync('/etc/group', 'utf8')]
}

async function readImageFiles(image: RunnableImage): Promise<[string, string]> {
  const passwd = await readInImage(image, 'etc/passwd')
  const group = await readInImage(image, 'etc/group')
  return [passwd, group]
}

async function readInImage(image: RunnableImage, path: string): Promise<string> {
  const slots = new SlotTable()
  const lowers = image.lowers.map((_, index) => slots.allocate(`layer${index}`))
  const root = lowers.length === 1 ? lowers[0] : slots.allocate('image')
  if (root === undefined) return ''
  const { data } = await runSteps([
    ...image.lowers.map((lower, index) =>
      step('open', { path: lower, flags: O_PATH | O_DIRECTORY, mode: 0, out: lowers[index] ?? null }, 'find a layer'),
    ),
    ...(lowers.length === 1
      ? []
      : [
          step(
            'mount_overlay',
            { joined: 1, lowers, upper: null, work: null, options: [], attrs: 0, out: root },
            'see the layers as one',
          ),
        ]),
    step(
      'read',
      { dir: root, path, limit: FILE_LIMIT_BYTES },
      { why: `read ${path} of the image`, tolerate: [ENOENT] },
    ),
  ])
  return new TextDecoder().decode(data[0] ?? new Uint8Array(0))
}

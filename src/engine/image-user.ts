import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { Helper, runSteps } from '../host/helper.ts'
import type { RunnableImage } from '../image/image.ts'
import { ENOENT } from '../lib/errno.ts'
import { MOVE_MOUNT_F_EMPTY_PATH } from '../linux/mount-flags.ts'
import { O_DIRECTORY, O_PATH } from '../linux/open-flags.ts'
import { type Slot, SlotTable } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'
import { StepError } from '../plan/step-error.ts'
import { kernelVersion } from '../runtime/host-facts.ts'
import { leaveHost } from '../snapshot/confined-plan.ts'
import { isLayerImage, mountLayerImage } from '../snapshot/layer-mount.ts'
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
  const [passwd, group] =
    image.veil !== undefined && image.seed === undefined ? readHostFiles() : await readImageFiles(image)
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
  // No overlay takes a layer beside the machine's root, which it lies in.
  if (image.seed !== undefined) return await readInLayers([image.seed, ...image.lowers], path)
  try {
    return await readInOverlay(image.lowers, path)
  } catch (error) {
    // Where there is no overlayfs, a driver that needs none is in use.
    if (error instanceof StepError && error.op === 'mount_overlay') return await readInLayers(image.lowers, path)
    throw error
  }
}

async function readInOverlay(layers: readonly string[], path: string): Promise<string> {
  const slots = new SlotTable()
  const lowers = layers.map((_, index) => slots.allocate(`layer${index}`))
  const root = lowers.length === 1 ? lowers[0] : slots.allocate('image')
  if (root === undefined) return ''
  const [major, minor] = kernelVersion(release())
  const joined = major > 6 || (major === 6 && minor >= 5) ? 0 : 1
  const { data } = await runSteps(
    [
      ...(layers.some(isLayerImage) ? leaveHost('mount images where nobody sees it') : []),
      ...lowers.flatMap((slot, index) => findLayer(layers[index] ?? '', slot)),
      ...(lowers.length === 1
        ? []
        : [
            step(
              'mount_overlay',
              { joined, lowers, upper: null, work: null, options: [], attrs: 0, out: root },
              'see the layers as one',
            ),
          ]),
      readStep(root, path, [ENOENT]),
    ],
    slots.count,
  )
  return new TextDecoder().decode(data[0] ?? new Uint8Array(0))
}

/** Before Linux 6.15 overlayfs takes no detached mounts as layers, so what an image holds is attached. */
function findLayer(path: string, out: Slot): readonly Step[] {
  if (!isLayerImage(path)) return [step('open', { path, flags: O_PATH | O_DIRECTORY, mode: 0, out }, 'find a layer')]
  const flags = MOVE_MOUNT_F_EMPTY_PATH
  return [
    ...mountLayerImage(path, out),
    step('move_mount', { from: out, to: null, path: '/', flags }, 'attach it, so that overlayfs takes it'),
  ]
}

/**
 * The file of the topmost layer that has it, unless a layer removes it. What a link of one layer leads to in another is not found, nor is it
 * seen that a directory hides those below it: then a name may be known that the container itself does not know.
 */
async function readInLayers(layers: readonly string[], path: string): Promise<string> {
  const layer = new SlotTable().allocate('layer')
  await using helper = new Helper()
  for (const lower of layers) {
    const flags = O_PATH | O_DIRECTORY
    await helper.run([step('open', { path: lower, flags, mode: 0, out: layer }, 'find a layer')])
    try {
      const { data } = await helper.run([readStep(layer, path, [])])
      return new TextDecoder().decode(data[0] ?? new Uint8Array(0))
    } catch (error) {
      if (!(error instanceof StepError)) throw error
      // Whiteouts are devices without a driver: of the file, of the directory it is in.
      if (error.errno === 'ENXIO' || error.errno === 'ENOTDIR') return ''
      if (error.errno !== 'ENOENT') throw error
    }
  }
  return ''
}

function readStep(dir: Slot, path: string, tolerate: readonly number[]): Step {
  return step('read', { dir, path, limit: FILE_LIMIT_BYTES }, { why: `read ${path} of the image`, tolerate })
}

/** Mounts as a container sees them. */

import { type MountInfo, parseMountInfo } from '../../../src/linux/mountinfo.ts'

/** The last mount at a path in the text of /proc/self/mountinfo. @throws Error when there is none */
export function mountAt(text: string, path: string): MountInfo {
  const found = parseMountInfo(text).findLast(({ mountPoint }) => mountPoint === path)
  if (found === undefined) throw new Error(`nothing is mounted at ${path}:\n${text}`)
  return found
}

/** Two names that change places all the time, while containers are made that use them. */

import { join } from 'node:path'
import { type BundleOptions, type Lab, untilFileHas } from './lab.ts'
import { programs } from './programs.ts'

const RACES = 200
/** A slow machine makes fewer containers in this time; the names change places some hundred thousand times a second. */
const RACE_LIMIT_MS = 8_000
const LEAST_RACES = 20

/** Makes containers on one bundle's options, two at a time, and returns the distinct texts that those printed which ran. */
export async function race(lab: Lab, options: BundleOptions): Promise<ReadonlySet<string>> {
  const said = new Set<string>()
  const on = options.on ?? lab.rootfs()
  const deadline = performance.now() + RACE_LIMIT_MS
  let begun = 0
  const runs = async (): Promise<void> => {
    while (begun < RACES && performance.now() < deadline) {
      begun++
      const { status, stdout } = await lab.run(lab.bundle({ ...options, on }))
      if (status === 0) said.add(stdout.trim())
    }
  }
  await Promise.all([runs(), runs()])
  if (begun < LEAST_RACES) throw new Error(`only ${begun} containers in ${RACE_LIMIT_MS} ms: that proves nothing`)
  return said
}

/** Exchanges two paths of the host until it is disposed. */
export async function swapOnHost(one: string, other: string): Promise<AsyncDisposable> {
  const swapper = Bun.spawn([programs().swapper, one, other], { stdio: ['ignore', 'pipe', 'inherit'] })
  const { done } = await swapper.stdout.getReader().read()
  if (done) throw new Error(`Cannot exchange "${one}" and "${other}"`)
  return {
    async [Symbol.asyncDispose](): Promise<void> {
      swapper.kill('SIGKILL')
      await swapper.exited
    },
  }
}

/** A container with the volume at /volume that exchanges two names in it until it is disposed. */
export async function swapInContainer(lab: Lab, volume: string, one: string, other: string): Promise<AsyncDisposable> {
  const bundle = lab.bundle({
    args: ['swapper', join('/volume', one), join('/volume', other)],
    moreMounts: [{ destination: '/volume', type: 'bind', source: volume, options: ['rbind'] }],
  })
  await untilFileHas(await lab.start(bundle), 'swapping')
  return {
    async [Symbol.asyncDispose](): Promise<void> {
      await lab.runtime('delete', '--force', bundle.id)
    },
  }
}

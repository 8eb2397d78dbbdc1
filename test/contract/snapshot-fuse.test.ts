import { expect } from 'bun:test'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { sameProcess } from '../../src/host/process-identity.ts'
import { until } from '../runtime/verbs-machine.ts'
import type { TestContainer } from './snapshot-box.ts'
import { describeSnapshotDriver } from './snapshot-suite.ts'

function serverOf({ directory }: TestContainer): { readonly pid: number; readonly startTicks: number } {
  return JSON.parse(readFileSync(join(directory, 'fuse.json'), 'utf8'))
}

describeSnapshotDriver({ driver: 'fuse-overlayfs', filesystem: 'ext4' }, check => {
  check('has its server run from the start to the end of the container', async box => {
    const container = await box.container(await box.stack())
    const started = await container.start('sleep 1000', 0)
    const server = serverOf(container)
    expect(sameProcess(server)).toBe(true)
    expect(readFileSync(`/proc/${server.pid}/status`, 'utf8')).toMatch(/^NoNewPrivs:\t1$/m)
    expect(readFileSync(`/proc/${server.pid}/net/dev`, 'utf8')).not.toContain('eth')
    await started.end()
    await until(() => !sameProcess(server))
  })

  check('ends a server whose container never came to be', async box => {
    const container = await box.container(await box.stack())
    await box.driver.activate(container.directory, container.stack, box.ids)
    await box.driver.activate(container.directory, container.stack, box.ids)
    const server = serverOf(container)
    expect(sameProcess(server)).toBe(true)
    await container.remove()
    expect(sameProcess(server)).toBe(false)
    expect(readdirSync(container.directory)).toEqual([])
  })

  check('shows a container that lost its server errors, and can start it again', async box => {
    const container = await box.container(await box.stack())
    const started = await container.start('while cat /base; do sleep 0.01; done', 0)
    await until(() => started.output().includes('of the base'))
    process.kill(serverOf(container).pid, 'SIGKILL')
    // SIGBUS for what of the program was not read yet, or ENOTCONN.
    await started.exited()
    expect(started.output()).toMatch(/Bus error|not connected/)
    await started.end()
    expect((await container.run('cat base')).output).toBe('of the base')
  })

  check('says what is wrong when the program does not serve', async box => {
    const container = await box.container(await box.stack())
    rmSync(join(container.directory, 'work'), { recursive: true })
    await expect(container.run('true')).rejects.toThrow(/^Cannot use fuse-overlayfs: it ended early/)
    expect(existsSync(`/proc/${serverOf(container).pid}/ns`)).toBe(false)
  })
})

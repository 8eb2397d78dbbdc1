import { expect } from 'bun:test'
import { describeSnapshotDriver } from './snapshot-suite.ts'

const MIB = 1024 * 1024

describeSnapshotDriver({ driver: 'vfs', filesystem: 'ext4' })

describeSnapshotDriver({ driver: 'vfs', filesystem: 'xfs' }, check => {
  check('shares the content of files with the layers by reflinks', async box => {
    const stack = await box.stack([{ name: 'large', content: Buffer.alloc(32 * MIB, 'content') }])
    const before = box.usedBytes()
    const container = await box.container(stack)
    expect(box.usedBytes() - before).toBeLessThan(2 * MIB)
    await container.run('echo more >> large')
    expect((await (await box.container(stack)).run('stat -c %s large')).output).toBe(`${32 * MIB}\n`)
  })
})

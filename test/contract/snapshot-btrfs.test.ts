import { expect } from 'bun:test'
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { must } from './snapshot-box.ts'
import { describeSnapshotDriver } from './snapshot-suite.ts'

const MIB = 1024 * 1024

describeSnapshotDriver({ driver: 'btrfs', filesystem: 'btrfs' }, check => {
  check(
    'makes one chain snapshot for an image, which shares its content with the layers and the containers',
    async box => {
      const stack = await box.stack([{ name: 'large', content: Buffer.alloc(32 * MIB, 'content') }])
      const before = box.usedBytes()
      await Promise.all([box.container(stack), box.container(stack), box.container(stack)])
      expect(box.usedBytes() - before).toBeLessThan(2 * MIB)
      const chains = await box.driver.chains()
      expect(chains.map(({ diffIds }) => diffIds.length)).toEqual([2])
      expect(() => mkdirSync(join(chains[0]?.path ?? '', 'root/new'))).toThrow('EROFS')
    },
  )

  check('begins a chain snapshot with the longest part of its chain that there is', async box => {
    const [a, b] = [[{ name: 'a', content: 'a' }], [{ name: '.wh.a' }, { name: 'b', content: 'b' }]]
    const short = await box.container(await box.stack(a))
    const long = await box.container(await box.stack(a, b))
    expect((await box.driver.chains()).map(({ diffIds }) => diffIds.length).sort()).toEqual([2, 3])
    expect([(await short.run('ls a b')).status, (await long.run('cat b; ls a')).output]).toEqual([
      1,
      'bls: a: No such file or directory\n',
    ])
  })

  check('removes chain snapshots with the layers that they are made of, and no container', async box => {
    const stack = await box.stack([{ name: 'a', content: 'a' }])
    const container = await box.container(stack)
    await box.driver.sweep()
    expect(await box.driver.chains()).toHaveLength(1)
    rmSync(dirname(stack.lowers[0] ?? ''), { recursive: true })
    await box.driver.sweep()
    expect(await box.driver.chains()).toEqual([])
    expect((await container.run('cat a')).output).toBe('a')
  })

  check('removes what a container has made of subvolumes, read-only ones with others in them too', async box => {
    const container = await box.container(await box.stack())
    const root = join(container.directory, 'snapshot/root')
    for (const path of ['one', 'one/two', 'one/two/three', 'other'])
      must('btrfs', 'subvolume', 'create', join(root, path))
    must('btrfs', 'subvolume', 'snapshot', '-r', join(root, 'one'), join(root, 'frozen'))
    for (const path of ['one/two', 'one']) must('btrfs', 'property', 'set', join(root, path), 'ro', 'true')
    await container.remove()
    expect(readdirSync(container.directory)).toEqual([])
    expect(must('btrfs', 'subvolume', 'list', box.data)).not.toContain('one')
  })
})

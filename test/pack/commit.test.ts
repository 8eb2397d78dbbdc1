/** `berth diff`, `commit`, `export` and `import` from end to end, and what the tools of others make of the images. */
import { expect } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { type EngineBox, engineTest } from '../engine/engine-box.ts'
import { run, treeOf } from '../image/tree.ts'
import { until } from '../runtime/verbs-machine.ts'
import { archive } from '../support/tar-archive.ts'

const CHANGE = [
  'mkdir -p /new/sub /etc/keep',
  'echo text > /new/sub/file',
  'ln /new/sub/file /new/hard',
  'ln -s sub/file /new/soft',
  'mkfifo /new/pipe',
  'chown 12:34 /new/sub',
  'chmod 4750 /new/sub/file',
  'echo more >> /etc/passwd',
  'rm -r /etc/gone',
  'rm -r /etc/again; mkdir /etc/again; echo 2 > /etc/again/two',
].join('; ')

/** An image of busybox with something to change in it. */
async function makeBase(box: EngineBox): Promise<void> {
  const root = box.rootfs()
  box.file('rootfs/etc/passwd', 'root:x:0:0::/:/bin/sh\n')
  for (const each of ['gone/deep', 'again']) mkdirSync(join(root, 'etc', each), { recursive: true })
  for (const each of ['gone/deep/file', 'again/one', 'again/two']) writeFileSync(join(root, 'etc', each), '1')
  const tar = run('tar', '-C', root, '--numeric-owner', '--owner=0', '--group=0', '-c', '.')
  box.file('base.tar.gz', gzipSync(tar))
  expect(await box.berth(['import', '-c', 'CMD ["sh"]', box.path('base.tar.gz'), 'example.com/base:1'])).toMatchObject({
    status: 0,
  })
}

async function change(box: EngineBox, name: string): Promise<void> {
  const outcome = await box.berth([
    'run',
    '--name',
    name,
    '-e',
    'B=2',
    'example.com/base:1',
    '/bin/busybox',
    'sh',
    '-ec',
    CHANGE,
  ])
  expect(outcome).toMatchObject({ status: 0, stderr: '' })
}

engineTest('diff tells what a container has changed, and nothing of what was made for it', async box => {
  await makeBase(box)
  await change(box, 'c1')
  const { stdout } = await box.berth(['diff', 'c1'])
  expect(stdout.split('\n')).toEqual([
    'C /etc',
    'C /etc/again',
    'D /etc/again/one',
    'C /etc/again/two',
    'D /etc/gone',
    'A /etc/keep',
    'C /etc/passwd',
    'A /new',
    'A /new/hard',
    'A /new/pipe',
    'A /new/soft',
    'A /new/sub',
    'A /new/sub/file',
    '',
  ])
  const json = JSON.parse((await box.berth(['diff', '--format', 'json', 'c1'])).stdout)
  expect(json.deleted).toEqual(['/etc/again/one', '/etc/gone'])
  await box.berth(['rm', 'c1'])
})

engineTest(
  'commit makes an image that others unpack to what the container saw',
  async box => {
    await makeBase(box)
    await change(box, 'c1')
    const commit = await box.berth([
      'commit',
      '-a',
      'me',
      '-m',
      'why',
      '-c',
      'LABEL a="b c"',
      '-c',
      'WORKDIR /new',
      'c1',
      'example.com/next:1',
    ])
    expect(commit).toMatchObject({ status: 0, stderr: '' })
    run(
      'skopeo',
      'copy',
      '-q',
      '--insecure-policy',
      `oci:${box.data}/content:example.com/next:1`,
      `oci:${box.path('copy')}:x`,
    )
    const inspected = JSON.parse(run('skopeo', 'inspect', '--config', `oci:${box.path('copy')}:x`).toString())
    expect(inspected.config).toMatchObject({ Env: ['B=2'], Labels: { a: 'b c' }, WorkingDir: '/new' })
    expect(inspected.config.Cmd[0]).toBe('/bin/busybox')
    expect(inspected.history.at(-1)).toMatchObject({ author: 'me', comment: 'why' })
    expect(inspected.rootfs.diff_ids).toHaveLength(2)
    run('umoci', 'unpack', '--image', `${box.path('copy')}:x`, box.path('bundle'))
    expect((await box.berth(['export', '-o', box.path('c.tar'), 'c1'])).status).toBe(0)
    mkdirSync(box.path('export'))
    run('tar', '-C', box.path('export'), '--numeric-owner', '-xpf', box.path('c.tar'))
    // What the runtime made to mount on is in no layer.
    const lines = (directory: string): string[] =>
      treeOf(directory).filter(
        each =>
          !/^\.\/ |^\.\/(?:etc\/(?:hosts|hostname|resolv\.conf)|dev\/|proc\/|sys\/|etc\/) /.test(each) &&
          !each.startsWith('  e3b0c442'),
      )
    expect(lines(box.path('bundle/rootfs'))).toEqual(lines(box.path('export')))
    const ran = await box.run('example.com/next:1', '/bin/busybox', 'sh', '-c', 'cat sub/file; ls /etc/again; echo $B')
    expect(ran.stdout).toBe('text\ntwo\n2\n')
    await box.berth(['rm', 'c1'])
  },
  ['command skopeo', 'command umoci'],
)

engineTest('commit gives the same image for the same changes under SOURCE_DATE_EPOCH', async box => {
  await makeBase(box)
  const digests = new Set<string>()
  for (const name of ['one', 'two']) {
    await change(box, name)
    for (let round = 0; round < 2; round++) {
      const command = [...box.command, 'commit', name, `example.com/${name}`]
      const child = Bun.spawnSync([...command], { env: { ...process.env, SOURCE_DATE_EPOCH: '1000000000' } })
      expect(child.exitCode).toBe(0)
      digests.add(child.stdout.toString())
    }
    await box.berth(['rm', name])
  }
  expect([...digests]).toHaveLength(1)
})

engineTest('commit and export read a container that runs, which goes on afterwards', async box => {
  await makeBase(box)
  const running = await box.start(
    [
      '--name',
      'c1',
      'example.com/base:1',
      '/bin/busybox',
      'sh',
      '-c',
      'echo 1 > /one; echo ready; while [ ! -e /stop ]; do /bin/busybox sleep 0.05; done; echo done',
    ],
    'ready',
  )
  expect(await box.berth(['commit', 'c1', 'example.com/live'])).toMatchObject({ status: 0, stderr: '' })
  expect(await box.berth(['commit', '--pause=false', 'c1'])).toMatchObject({ status: 0 })
  expect((await box.berth(['export', '-o', box.path('c.tar'), 'c1'])).status).toBe(0)
  expect(run('tar', '-xOf', box.path('c.tar'), 'one').toString()).toBe('1\n')
  expect((await box.run('example.com/live', '/bin/busybox', 'cat', '/one')).stdout).toBe('1\n')
  expect((await box.berth(['ps'])).stdout).toContain('running')
  await box.berth(['rm', '-f', 'c1'])
  await running.exited
})

engineTest(
  'diff of a container of the machine itself shows what it changed, and no secret that is hidden from it',
  async box => {
    await box.berth([
      'run',
      '--name',
      'c1',
      'host',
      'sh',
      '-c',
      'echo 1 > /opt/berth-test; touch /root/own; echo 2 > /etc/berth-test',
    ])
    expect((await box.berth(['diff', 'c1'])).stdout).toBe(
      'C /etc\nA /etc/berth-test\nC /opt\nA /opt/berth-test\nC /root\nA /root/own\n',
    )
    await box.berth(['rm', 'c1'])
  },
)

engineTest('import refuses what is no archive, http, and changes that mean nothing; nothing is left', async box => {
  const tar = box.file('a.tar', archive({ name: 'a', content: 'x' }))
  const cases: readonly [args: readonly string[], message: string][] = [
    [[box.file('text', 'x'.repeat(1000))], 'Cannot read tar archive'],
    [[box.path('absent')], 'Cannot read "'],
    [['http://registry.test/a.tar'], 'expected https'],
    [['-c', 'FROM x', tar], 'Cannot apply change "FROM x"'],
    [['-c', 'CMD', tar], 'it says nothing'],
    [[tar, 'UPPER/case'], 'UPPER/case'],
  ]
  for (const [args, message] of cases) {
    const { status, stderr } = await box.berth(['import', ...args])
    expect(stderr).toContain(message)
    expect(status).toBe(125)
  }
  expect(run('find', join(box.data, 'content'), '-type', 'f', '-path', '*ingest*').toString()).toBe('')
  expect((await box.berth(['import', tar, 'example.com/a'])).status).toBe(0)
  const index = JSON.parse(readFileSync(join(box.data, 'content/index.json'), 'utf8'))
  expect(index.manifests).toHaveLength(1)
})

engineTest('export leaves no half of a file under its name', async box => {
  const { status, stderr } = await box.berth(['export', '-o', box.path('x.tar'), 'absent'])
  expect([status, stderr]).toEqual([125, expect.stringContaining('no such container')])
  expect(existsSync(box.path('x.tar'))).toBe(false)
})

engineTest('export says that the disk is full, or that nobody reads on, and leaves nothing', async box => {
  await makeBase(box)
  expect((await box.berth(['run', '--name', 'c1', 'example.com/base:1', 'true'])).status).toBe(0)
  const small = box.path('small')
  mkdirSync(small)
  run('mount', '-t', 'tmpfs', '-o', 'size=64k', 'berth-test', small)
  try {
    const { status, stderr } = await box.berth(['export', '-o', join(small, 'out.tar'), 'c1'])
    expect(stderr).toBe(`berth: Cannot write to "${small}/out.tar": no space is left on the device\n`)
    expect(status).toBe(125)
    expect(readdirSync(small)).toEqual([])
  } finally {
    run('umount', '-l', small)
  }
  const child = Bun.spawn([...box.command, 'export', 'c1'], { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  const reader = child.stdout.getReader()
  await reader.read()
  await reader.cancel()
  expect(await new Response(child.stderr).text()).toBe(
    'berth: Cannot write to standard output: who read it has ended\n',
  )
  expect(await child.exited).toBe(125)
  await box.berth(['rm', 'c1'])
})

engineTest('commit that is interrupted lets the container go on, and leaves nothing', async box => {
  const script = [
    'cd /; for i in 1 2 3 4 5 6 7 8 9; do cat /bin/busybox; done > a; for i in 1 2 3 4 5 6 7 8 9; do cat a a a; done > b',
    'trap "echo alive; exit 7" USR1; echo ready',
    'while :; do sleep 0.05; done',
  ]
  const rootfs = ['--rootfs', box.rootfs(), '/bin/busybox', 'sh', '-c', script.join('; ')]
  const container = Bun.spawn([...box.command, 'run', '--rm', '--name', 'busy', ...rootfs], { stdout: 'pipe' })
  const said = container.stdout.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]()
  expect(await said.next()).toMatchObject({ value: 'ready\n' })
  const ingest = join(box.data, 'content/ingest')
  const commit = Bun.spawn([...box.command, 'commit', 'busy', 'example.com/busy:1'], { stderr: 'ignore' })
  await until(() => existsSync(ingest) && readdirSync(ingest).length > 0)
  commit.kill('SIGTERM')
  expect(await commit.exited).toBe(143)
  expect(readdirSync(ingest)).toEqual([])
  // Its trap runs only when it is not stopped.
  container.kill('SIGUSR1')
  expect(await said.next()).toMatchObject({ value: 'alive\n' })
  expect(await container.exited).toBe(7)
})

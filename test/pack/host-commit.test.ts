/** `berth commit` of the machine itself: images that are a layer on top of this machine, and nowhere else. */
import { expect } from 'bun:test'
import { cpSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { type EngineBox, engineTest } from '../engine/engine-box.ts'
import { LayoutBuilder, tagged, type WireDescriptor } from '../image/layout-builder.ts'
import { run, treeOf } from '../image/tree.ts'
import { until } from '../runtime/verbs-machine.ts'
import { startRegistry } from '../support/registry.ts'
import { archive } from '../support/tar-archive.ts'
import { capabilityValue, setXattr } from '../support/xattr.ts'

const IMAGE = 'example.com/mine:1'
/** Directories of the machine with files in them and nothing else, to replace and to remove. */
const [REPLACED = '', REMOVED = ''] = readdirSync('/etc', { withFileTypes: true })
  .filter(entry => entry.isDirectory() && isPlain(`/etc/${entry.name}`))
  .map(({ name }) => `/etc/${name}`)
  .sort()

function isPlain(directory: string): boolean {
  const entries = readdirSync(directory, { withFileTypes: true })
  return entries.length > 0 && entries.length < 50 && entries.every(entry => entry.isFile())
}

interface Inspected {
  readonly Base: string
  readonly Size: number
  readonly RootFS: { readonly Layers: readonly string[] }
  readonly Descriptor: { readonly digest: string; readonly size: number }
}

/** What a script prints in a container that stays. */
async function keep(box: EngineBox, name: string, image: string, script: string): Promise<string> {
  const { status, stdout, stderr } = await box.berth(['run', '--name', name, image, 'sh', '-ec', script])
  expect([status, stderr]).toEqual([0, ''])
  return stdout
}

function upperOf(box: EngineBox, ...without: readonly string[]): string {
  const [id = '', ...more] = readdirSync(join(box.data, 'containers')).filter(each => !without.includes(each))
  expect(more).toEqual([])
  return join(box.data, 'containers', id, 'upper')
}

async function commit(box: EngineBox, container: string, image = IMAGE): Promise<Inspected> {
  const env = { ...process.env, SOURCE_DATE_EPOCH: '4000000000' }
  const child = Bun.spawnSync([...box.command, 'commit', container, image], { env })
  expect([child.exitCode, child.stderr.toString()]).toEqual([0, ''])
  return JSON.parse((await box.berth(['inspect', image])).stdout)[0]
}

/** A tree with the ids of the container. */
function shiftedBack(upper: string, path: string): string[] {
  const start = statSync(upper).uid
  const shift = (_: string, uid: string, gid: string): string => ` ${Number(uid) - start}:${Number(gid) - start} `
  return treeOf(join(upper, path)).map(line => line.replace(/ (\d+):(\d+) /, shift))
}

engineTest('a container of a committed one begins with what was changed, on top of the machine', async box => {
  const change = [
    'mkdir -p /opt/berth-test/sub; cd /opt/berth-test; echo text > file; ln file hard; ln -s file soft; mkfifo pipe',
    'chmod 4750 file; echo cap > cap; chown 12:34 sub; touch -d "2001-02-03 04:05:06.789" sub',
    `rm /etc/group; rm -r ${REMOVED}; rm -r ${REPLACED}; mkdir ${REPLACED}; echo mine > ${REPLACED}/mine`,
    'echo user:x:77:88::/: >> /etc/passwd; chmod 1777 /opt',
  ]
  await keep(box, 'c1', 'host', change.join('\n'))
  const upper = upperOf(box)
  await setXattr(join(upper, 'opt/berth-test/sub'), 'user.color', 'blue')
  await setXattr(join(upper, 'opt/berth-test/cap'), 'security.capability', capabilityValue(statSync(upper).uid))
  const made = shiftedBack(upper, 'opt/berth-test')
  const image = await commit(box, 'c1')
  expect([image.Base, image.RootFS.Layers.length, image.Size < 50_000]).toEqual(['host', 1, true])
  await box.berth(['rm', 'c1'])
  const seen = await keep(
    box,
    'c2',
    IMAGE,
    `ls -A ${REPLACED}; for each in ${REMOVED} /etc/group /usr /etc/passwd; do [ -e $each ] && echo $each; done
     stat -c "%a %u:%g %h" /opt /opt/berth-test/file /opt/berth-test/sub; cat /opt/berth-test/soft; id -u; head -n 1 /etc/passwd`,
  )
  const [user] = readFileSync('/etc/passwd', 'utf8').split('\n')
  expect(seen.replace(/^1777 0:0 \d+$/m, '1777')).toBe(
    `mine\n/usr\n/etc/passwd\n1777\n4750 0:0 2\n755 12:34 2\ntext\n0\n${user}\n`,
  )
  expect(shiftedBack(upperOf(box), 'opt/berth-test')).toEqual(made)
  // Users of the layer's own passwd are known before the container is.
  expect((await box.run('--user', 'user', IMAGE, 'sh', '-c', 'id -u; id -g')).stdout).toBe('77\n88\n')
  expect((await box.berth(['explain', 'run', IMAGE, 'true'])).status).toBe(0)
  await box.berth(['rm', 'c2'])
})

engineTest('the same changes make the same layer, and a container that changes nothing makes it again', async box => {
  await keep(box, 'c1', 'host', `mkdir -p /opt/a/b; rm -r ${REPLACED}; mkdir ${REPLACED}; touch /root/own /etc/own`)
  const first = await commit(box, 'c1')
  expect((await commit(box, 'c1', 'example.com/again')).Descriptor).toEqual(first.Descriptor)
  await keep(box, 'c2', IMAGE, 'true')
  expect((await box.berth(['diff', 'c2'])).stdout).toBe('')
  const next = await commit(box, 'c2', 'example.com/next')
  expect(next.RootFS.Layers).toEqual(first.RootFS.Layers)
  await box.berth(['rm', 'c1', 'c2'])
})

engineTest('diff of such a container tells its own changes; commit of it keeps those before too', async box => {
  await keep(
    box,
    'c1',
    'host',
    `mkdir -p /opt/new/sub /opt/kept; touch /opt/new/sub/file /opt/kept/file; rm /etc/group
     rm -r ${REPLACED}; mkdir ${REPLACED}; touch ${REPLACED}/mine ${REPLACED}/stays; touch /root/own`,
  )
  await commit(box, 'c1')
  await keep(
    box,
    'c2',
    IMAGE,
    `rm -r /opt/new; echo more > /opt/kept/file; touch /opt/kept/more; echo back > /etc/group
     rm ${REPLACED}/mine; rm -r ${REMOVED}; mkdir ${REMOVED}; rm /root/own`,
  )
  const removed = readdirSync(REMOVED).map(name => `D ${REMOVED}/${name}`)
  const lines = ['C /etc', 'A /etc/group', `C ${REPLACED}`, `D ${REPLACED}/mine`, `C ${REMOVED}`, ...removed]
  const below = [
    'C /opt',
    'C /opt/kept',
    'C /opt/kept/file',
    'A /opt/kept/more',
    'D /opt/new',
    'C /root',
    'D /root/own',
  ]
  expect((await box.berth(['diff', 'c2'])).stdout.split('\n').sort()).toEqual(['', ...lines, ...below].sort())
  const image = await commit(box, 'c2', 'example.com/next')
  expect([image.Base, image.RootFS.Layers.length]).toEqual(['host', 1])
  const script = `cat /opt/kept/file /etc/group
    for each in /opt/kept ${REPLACED} ${REMOVED} /root; do echo "$(echo $(ls -A $each))"; done; [ -e /opt/new ] || echo gone`
  const { stdout } = await box.run('example.com/next', 'sh', '-c', script)
  expect(stdout).toBe('more\nback\nfile more\nstays\n\n\ngone\n')
  const history = await box.berth(['history', '--format', '{{.Size}}', 'example.com/next'])
  expect(history.stdout).toMatch(/^[1-9]\d*B\n0B\n$/)
  await box.berth(['rm', 'c1', 'c2'])
})

// The machine's /tmp is not empty: the test's own files are there.
engineTest('no layer lifts what hides the private files of the machine', async box => {
  const change = [
    'touch /tmp/own /home/own; echo secret > /etc/shadow; mkdir -p /etc/ssh /srv; touch /etc/ssh/own',
    'rm -r /mnt /var/tmp; mkdir /var/tmp; ln -s / /mnt',
  ]
  await keep(box, 'c1', 'host', change.join('; '))
  await commit(box, 'c1')
  const script = 'ls -A /tmp /home /etc/ssh /srv /var/tmp; cat /etc/shadow; readlink /mnt; ls -A /root /boot'
  const expected = '/etc/ssh:\nown\n\n/home:\nown\n\n/srv:\n\n/tmp:\nown\n\n/var/tmp:\nsecret\n/\n/boot:\n\n/root:\n'
  expect(await keep(box, 'c2', IMAGE, script)).toBe(expected)
  // And once more, of a layer whose directories come from a layer.
  await commit(box, 'c2', 'example.com/next')
  expect((await box.run('example.com/next', 'sh', '-c', script)).stdout).toBe(expected)
  await box.berth(['rm', 'c1', 'c2'])
})

/** A layer with busybox and nothing else. */
const LAYER = archive(
  { name: 'bin/', type: '5', mode: 0o755 },
  { name: 'bin/sh', mode: 0o755, content: readFileSync(Bun.which('busybox') ?? '/bin/busybox') },
)
/** Whatever somebody could come to take for orders. */
const CLAIMS: Readonly<Record<string, string>> = Object.fromEntries(
  [
    'base',
    'host',
    'image',
    'on-host',
    'isOnHost',
    'seed',
    'lowers',
    'veil',
    'berth.base',
    'io.berth.base',
    'org.berth.host',
  ]
    .concat(['org.opencontainers.image.base.name', 'io.podman.annotations.rootfs', 'run.oci.rootfs'])
    .flatMap(key => [[key, 'host'] as const, [`${key}.path`, '/'] as const]),
)

/** An image that says in all places that it is on top of the machine. */
function claimingImage(layout: LayoutBuilder): WireDescriptor {
  const layer = { ...layout.blob(LAYER, 'application/vnd.oci.image.layer.v1.tar'), annotations: CLAIMS }
  const [diffId] = [layer.digest]
  const config = layout.json(
    {
      ...{ architecture: process.arch === 'arm64' ? 'arm64' : 'amd64', os: 'linux', Base: 'host', isOnHost: true },
      config: { Cmd: ['/bin/sh'], Labels: CLAIMS, Base: 'host' },
      rootfs: { type: 'layers', diff_ids: [diffId], base_layer: 'host' },
      history: [{ created_by: 'FROM host', comment: 'host' }],
    },
    'application/vnd.oci.image.config.v1+json',
  )
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer], annotations: CLAIMS }
  return { ...layout.json(manifest, OCI_MANIFEST), annotations: CLAIMS }
}

async function load(box: EngineBox, layout: LayoutBuilder, ...images: readonly WireDescriptor[]): Promise<void> {
  layout.finish(...images)
  const tar = box.path('load.tar')
  run('tar', '-C', layout.path, '-cf', tar, '.')
  expect(await box.berth(['load', '-i', tar])).toMatchObject({ status: 0, stderr: '' })
}

async function seenIn(box: EngineBox, image: string): Promise<readonly string[]> {
  const { stdout, stderr } = await box.run(image, '/bin/sh', '-c', 'echo /*; [ -e /usr ] && echo the machine')
  expect(stderr).toBe('')
  return stdout.trim().split('\n')
}

engineTest(
  'an image that was pulled or loaded never gets the machine, whatever it says (class H)',
  async box => {
    const layout = new LayoutBuilder(box.path('layout'))
    await load(box, layout, tagged(claimingImage(layout), 'example.com/claims:1'))
    expect(await seenIn(box, 'example.com/claims:1')).toEqual(['/bin /dev /etc /proc /sys'])
    const [image] = JSON.parse((await box.berth(['inspect', 'example.com/claims:1'])).stdout)
    expect(image.Base).toBe('')
  },
  ['command busybox'],
)

engineTest(
  'a committed one is on top of the machine as long as it is here; loaded again it is its layer alone',
  async box => {
    const busybox = Bun.which('busybox') ?? '/bin/busybox'
    await keep(box, 'c1', 'host', `rm /bin; mkdir /bin; cp ${busybox} /bin/sh`)
    const { Descriptor } = await commit(box, 'c1')
    await box.berth(['rm', 'c1'])
    expect((await seenIn(box, IMAGE)).at(-1)).toBe('the machine')
    // An index that names it is another image: it comes from elsewhere.
    const layout = new LayoutBuilder(box.path('layout'))
    cpSync(join(box.data, 'content/blobs'), join(layout.path, 'blobs'), { recursive: true })
    const platform = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' }
    const manifests = [{ ...Descriptor, mediaType: OCI_MANIFEST, platform }]
    const index = layout.json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }, OCI_INDEX)
    await load(box, layout, tagged(index, 'example.com/index:1'))
    expect(await seenIn(box, 'example.com/index:1')).toEqual(['/bin /dev /etc /proc /sys'])
    const saved = await box.berth(['save', '--format', 'oci-archive', '-o', box.path('saved.tar'), IMAGE])
    expect([saved.status, saved.stderr]).toEqual([0, expect.stringContaining('elsewhere it is its layer alone')])
    // While it is here it stays what it is: the same digest is the same image.
    expect((await box.berth(['load', '-i', box.path('saved.tar')])).status).toBe(0)
    expect((await seenIn(box, IMAGE)).at(-1)).toBe('the machine')
    expect((await box.berth(['rmi', IMAGE])).status).toBe(0)
    expect((await box.berth(['load', '-i', box.path('saved.tar')])).status).toBe(0)
    const [again] = JSON.parse((await box.berth(['inspect', IMAGE])).stdout)
    expect([again.Descriptor.digest, again.Base]).toEqual([Descriptor.digest, ''])
    expect(await seenIn(box, IMAGE)).toEqual(['/bin /dev /etc /proc /sys'])
  },
  ['command busybox'],
)

engineTest(
  'a committed one that was pushed, removed and pulled back is its layer alone',
  async box => {
    const busybox = Bun.which('busybox') ?? '/bin/busybox'
    await using registry = await startRegistry()
    const name = `${registry.host}/r/mine:1`
    await keep(box, 'c1', 'host', `rm /bin; mkdir /bin; cp ${busybox} /bin/sh`)
    const { Descriptor } = await commit(box, 'c1', name)
    await box.berth(['rm', 'c1'])
    const pushed = await box.berth(['push', name])
    expect([pushed.status, pushed.stderr]).toEqual([0, expect.stringContaining('elsewhere it is its layer alone')])
    expect((await box.berth(['rmi', name])).status).toBe(0)
    expect((await box.berth(['pull', name])).status).toBe(0)
    const [pulled] = JSON.parse((await box.berth(['inspect', name])).stdout)
    expect([pulled.Descriptor.digest, pulled.Base]).toEqual([Descriptor.digest, ''])
    expect(await seenIn(box, name)).toEqual(['/bin /dev /etc /proc /sys'])
  },
  ['command busybox', 'command docker-registry'],
)

engineTest(
  'export of the machine hides what is hidden, leaves out what is mounted, and ends when it is told to',
  async box => {
    await keep(box, 'c1', 'host', 'touch /home/own; mkdir /etc/own')
    const child = Bun.spawn([...box.command, 'export', 'c1'], { stdout: 'pipe', stderr: 'pipe' })
    const lister = Bun.spawn(['tar', '-t'], { stdin: child.stdout, stdout: 'pipe', stderr: 'ignore' })
    let names: string[] = []
    for await (const text of lister.stdout.pipeThrough(new TextDecoderStream())) {
      names = (names.join('\n') + text).split('\n')
      // Names come in the order of their bytes.
      if (names.some(name => name > 'home/own')) break
    }
    child.kill('SIGINT')
    expect(await child.exited).toBe(130)
    await lister.exited
    expect(names).toContain('etc/own/')
    expect(names.filter(name => name.startsWith('home/'))).toEqual(['home/', 'home/own'])
    expect(names.filter(name => /^etc\/(?:g?shadow|ssh\/)|^dev\/(?:pts|shm)\/./.test(name))).toEqual([])
    const file = box.path('export.tar')
    const toFile = Bun.spawn([...box.command, 'export', '-o', file, 'c1'], { stdout: 'ignore', stderr: 'ignore' })
    await until(() => readdirSync(box.base).some(name => name.startsWith('.export.tar.')))
    toFile.kill('SIGTERM')
    expect(await toFile.exited).toBe(143)
    expect(readdirSync(box.base).filter(name => name.includes('export.tar'))).toEqual([])
    await box.berth(['rm', 'c1'])
  },
)

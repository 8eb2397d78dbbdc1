// Class H of the published escapes, where images carry the orders: labels, annotations and config propose, and lower nothing.
import { describe, expect } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LayoutBuilder, tagged } from '../image/layout-builder.ts'
import { ROOT } from '../support/group.ts'
import { testIf } from '../support/requirement.ts'
import { archive } from '../support/tar-archive.ts'

const testHere = testIf('root', 'overlay', 'idmapped mounts')

interface Plan {
  readonly status: number
  readonly text: string
}

/** A layout with images, and the plans of containers of them. */
class Images implements Disposable {
  readonly base: string = mkdtempSync(join(tmpdir(), 'berth-metadata-'))
  readonly #layout = new LayoutBuilder(join(this.base, 'layout'))

  /** The plan of a container of an image with this config, and with these annotations wherever there can be some. */
  plan(
    config: Readonly<Record<string, unknown>>,
    annotations: Readonly<Record<string, string>> = {},
    ...options: readonly string[]
  ): Plan {
    const plain = this.#layout.image([archive({ name: 'file', content: 'x' })], {
      config: { Cmd: ['/program'], ...config },
    })
    const manifest = JSON.parse(readFileSync(join(this.base, 'layout/blobs', plain.digest.replace(':', '/')), 'utf8'))
    // In the manifest, of its config and layers, and in the index that names it.
    for (const each of [manifest, manifest.config, ...manifest.layers]) each.annotations = annotations
    const image = Object.keys(annotations).length === 0 ? plain : this.#layout.json(manifest, plain.mediaType)
    const named = tagged(image, 'image')
    const annotated = { ...named, annotations: { ...named.annotations, ...annotations } }
    this.#layout.finish(annotated)
    const berth = [
      process.execPath,
      join(ROOT, 'src/cli/main.ts'),
      '--root',
      join(this.base, 'data'),
      '--run-root',
      join(this.base, 'run'),
    ]
    const [command = '', ...rest] = berth
    const loaded = spawnSync(command, [...rest, 'load', '--input', this.#layout.path], { encoding: 'utf8' })
    if (loaded.status !== 0) return { status: loaded.status ?? -1, text: loaded.stderr }
    const id = /(?:sha256:)([0-9a-f]{64})/.exec(loaded.stdout)?.[1] ?? 'image:latest'
    const name = /Loaded image: (\S+)/.exec(loaded.stdout)?.[1] ?? id
    const { status, stdout, stderr } = spawnSync(
      command,
      [...rest, 'explain', 'run', '--pull=never', ...options, name],
      { encoding: 'utf8' },
    )
    // What differs from one container to the next: its id, and the range of its users.
    const text = stdout.replaceAll(/[0-9a-f]{12,64}/g, 'ID').replaceAll(/\b\d{7,10}\b/g, 'RANGE')
    return { status: status ?? -1, text: status === 0 ? text : stderr }
  }

  [Symbol.dispose](): void {
    rmSync(this.base, { recursive: true, force: true })
  }
}

function test(name: string, body: (images: Images) => void): void {
  testHere(
    name,
    () => {
      using images = new Images()
      body(images)
    },
    60_000,
  )
}

/** Keys that some engine, runtime or orchestrator has taken for orders. */
const ORDERS: Readonly<Record<string, string>> = {
  'io.podman.annotations.checkpoint.runtime.name': 'runc',
  'io.podman.annotations.checkpoint.rootfsImageID': 'ID',
  'io.podman.annotations.privileged': 'TRUE',
  'io.podman.annotations.seccomp': 'unconfined',
  'io.podman.annotations.userns': 'host',
  'io.podman.annotations.autoremove': 'TRUE',
  'run.oci.keep_original_groups': '1',
  'run.oci.seccomp_fail_unknown_syscall': '0',
  'run.oci.seccomp.plugins': '/evil.so',
  'run.oci.hooks.stdout': '/evil',
  'run.oci.handler': 'krun',
  'run.oci.systemd.subgroup': '../..',
  'org.systemd.property.SuccessAction': "'poweroff'",
  'org.systemd.property.DeviceAllow': "[('block-*', 'rwm')]",
  'containerd.io/restart.loguri': 'binary:///evil?id=1',
  'containerd.io/restart.status': 'running',
  PODMAN_SYSTEMD_UNIT: 'sshd.service',
  'io.containers.autoupdate': 'registry',
  'io.containers.capabilities': 'SYS_ADMIN,SYS_MODULE',
  'cdi.k8s.io/evil': 'vendor.com/device=all',
  'io.kubernetes.cri-o.Devices': '/dev/sda',
  'io.kubernetes.cri-o.UnifiedCgroup.c': 'memory.max=max',
  'com.docker.compose.file': '../../canary',
  'org.criu.checkpoint.container.name': 'evil',
  RUN: 'podman run --privileged -v /:/host IMAGE',
  INSTALL: 'docker run --privileged IMAGE',
  'run.berth.privileged': 'true',
}

describe('CVE-2026-94603, CVE-2026-53488, CVE-2026-121885, CVE-2026-53492: an image with orders', () => {
  test('in its labels and annotations has the plan of one without, step by step', images => {
    const bare = images.plan({})
    expect({ status: bare.status, hasProgram: bare.text.includes('/program') }).toEqual({ status: 0, hasProgram: true })
    expect(images.plan({ Labels: ORDERS }).text).toBe(bare.text)
    expect(images.plan({}, ORDERS).text).toBe(bare.text)
    expect(images.plan({ Labels: ORDERS }, ORDERS).text).toBe(bare.text)
  })

  test('in properties of its config that Docker’s builders write, or once wrote, has the plan of one without', images => {
    const bare = images.plan({})
    const properties = {
      Hostname: 'evil',
      Domainname: 'evil',
      OnBuild: ['RUN evil'],
      Shell: ['/evil'],
      Memory: 1,
      MemorySwap: -1,
      CpuShares: 1,
      NetworkDisabled: false,
      MacAddress: '02:00:00:00:00:01',
      Healthcheck: { Test: ['CMD', '/evil'], Interval: 1_000_000 },
      HostConfig: { Privileged: true, Binds: ['/:/host'], PidMode: 'host', CapAdd: ['ALL'] },
      Privileged: true,
      CapAdd: ['ALL'],
      SecurityOpt: ['seccomp=unconfined'],
      Devices: ['/dev/sda'],
      Mounts: [{ Type: 'bind', Source: '/', Target: '/host' }],
      ExposedPorts: { '22/tcp': {} },
      ArgsEscaped: true,
      AttachStdin: true,
      OpenStdin: true,
      Tty: true,
    }
    expect(images.plan(properties).text).toBe(bare.text)
  })
})

describe('what an image may propose', () => {
  /** Every line of the plan that has to do with isolation: mounts, namespaces, credentials, limits and filters. */
  const isolation = ({ text }: Plan): readonly string[] =>
    text
      .split('\n')
      .filter(line => /mount|clone|unshare|setns|cap|prctl|seccomp|uid|gid|cgroup|rlimit|mknod|pivot/.test(line))

  for (const volume of [
    '/proc',
    '/sys/fs/cgroup',
    '/dev',
    '/',
    '/../..',
    '../../etc',
    '/proc/../..',
    '/etc/passwd',
    '/a\nb',
  ]) {
    test(`a volume ${JSON.stringify(volume)} hides and mounts nothing of the host`, images => {
      const bare = images.plan({})
      const { status, text } = images.plan({ Volumes: { [volume]: {} } })
      // Refused, or a plan in which nothing but what the bare one has is mounted.
      if (status === 0) expect(isolation({ status, text })).toEqual(isolation(bare))
      else expect(text).toContain('Cannot')
    })
  }

  for (const directory of ['..', '../../..', '/proc/self/cwd/../..', 'relative', '/proc/1/root', '/a\nb']) {
    test(`a working directory ${JSON.stringify(directory)} changes no step but that of itself`, images => {
      const bare = images.plan({})
      const { status, text } = images.plan({ WorkingDir: directory })
      if (status === 0) expect(isolation({ status, text })).toEqual(isolation(bare))
      else expect(text).toContain('Cannot')
    })
  }

  for (const user of [
    '4294967295',
    '4294967296',
    '-1',
    '0:4294967296',
    '1:1:1',
    'root\n',
    '../root',
    '2147483648x',
    '+0',
  ])
    test(`a user ${JSON.stringify(user)} is refused`, images => {
      expect(images.plan({ User: '1000:1000' }).status).toBe(0)
      const { status, text } = images.plan({ User: user })
      expect(text).not.toContain('Cannot find image')
      expect({ user, status, text }).toEqual({
        user,
        status: 125,
        text: expect.stringContaining('Cannot') as unknown as string,
      })
    })

  test('a signal, environment and exposed ports change no step of isolation', images => {
    const bare = images.plan({})
    const hostile = {
      StopSignal: 'SIGKILL;reboot',
      Env: [
        'HOME=/x\nroot2::0:0::/:/bin/sh',
        'LD_PRELOAD=/evil.so',
        'container=podman',
        'NOTIFY_SOCKET=/run/systemd/notify',
        '_LIBCONTAINER_INITPIPE=3',
      ],
      ExposedPorts: { '0/tcp': {}, '22/tcp': {} },
    }
    const { status, text } = images.plan(hostile)
    if (status === 0) expect(isolation({ status, text })).toEqual(isolation(bare))
    else expect(text).toContain('Cannot')
    expect(images.plan({ Env: hostile.Env }).status).toBe(0)
  })
})

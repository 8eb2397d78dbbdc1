// Class D of the published escapes: helpers of the engine that run, load or believe what is in the container.
import { describe, expect } from 'bun:test'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { initPath } from '../../src/host/init-path.ts'
import { type Lab, plantLink, securityTest, untilFileHas } from './lab.ts'

const test = securityTest()

/** Programs that engines have run, or could, while something of the container was in their way. */
const HELPERS =
  'nsenter newuidmap newgidmap ps passt pasta slirp4netns xz unpigz gzip tar cp modprobe iptables ip nft mount umount unshare setpriv systemctl runc crun bash getent id-helper ld.so'

/** An image in which each of them leaves a trace, wherever it runs. */
function trap(lab: Lab, rootfs: string): { readonly traces: readonly string[] } {
  const traces = [join(rootfs, 'trace'), join(lab.base, 'trace')]
  const script = `#!/bin/sh\n${['/trace', ...traces].map(path => `echo "$0 $*" >> ${path}`).join(' 2>/dev/null\n')}\n`
  for (const folder of ['bin', 'sbin', 'usr/bin', 'usr/sbin', 'usr/local/bin', 'lib64']) {
    mkdirSync(join(rootfs, folder), { recursive: true })
    for (const name of HELPERS.split(' ')) {
      const path = join(rootfs, folder, name)
      if (!existsSync(path)) writeFileSync(path, script, { mode: 0o755 })
    }
  }
  for (const folder of ['lib', 'lib/x86_64-linux-gnu', 'usr/lib', 'usr/lib64']) {
    mkdirSync(join(rootfs, folder), { recursive: true })
    for (const name of ['libnss_files.so.2', 'libc.so.6', 'ld-linux-x86-64.so.2'])
      writeFileSync(join(rootfs, folder, name), script, { mode: 0o755 })
  }
  writeFileSync(join(rootfs, 'etc/nsswitch.conf'), 'passwd: files evil\ngroup: files evil\n')
  writeFileSync(join(rootfs, 'etc/ld.so.preload'), '/lib/libnss_files.so.2\n')
  return { traces }
}

describe('CVE-2019-14271: berth-init', () => {
  test('is static: it loads no library, whatever root it has entered', async () => {
    const elf = readFileSync(initPath())
    const [PT_DYNAMIC, PT_INTERP] = [2, 3]
    const table = Number(elf.readBigUInt64LE(32))
    const size = elf.readUInt16LE(54)
    const types = Array.from({ length: elf.readUInt16LE(56) }, (_, index) => elf.readUInt32LE(table + index * size))
    expect(types.length).toBeGreaterThan(0)
    expect(types.filter(type => type === PT_DYNAMIC || type === PT_INTERP)).toEqual([])
  })
})

describe('CVE-2022-1227, CVE-2019-14271, CVE-2026-41567, CVE-2026-84042: programs and libraries of the image', () => {
  test('are run by no command of the runtime', async lab => {
    let traces: readonly string[] = []
    const bundle = lab.bundle({
      args: ['/bin/busybox', 'sleep', '1000'],
      image: rootfs => {
        traces = trap(lab, rootfs).traces
      },
    })
    const { id, dir } = bundle
    const steps: readonly (readonly string[])[] = [
      ['create', '--bundle', dir, id],
      ['start', id],
      ['state', id],
      ['list'],
      ['ps', id],
      ['ps', '--format', 'json', id],
      ['exec', id, '/bin/busybox', 'true'],
      ['exec', '--user', '1000:1000', id, '/bin/busybox', 'true'],
      ['events', '--stats', id],
      ['kill', id, 'KILL'],
      ['delete', '--force', id],
    ]
    for (const step of steps) expect({ step, ...(await lab.runtime(...step)) }).toMatchObject({ step, status: 0 })
    expect(traces.filter(existsSync)).toEqual([])
  })

  for (const option of ['--init', '--read-only', '--user=user', '--userns=host'])
    test(`are not run by the engine, with ${option}`, async lab => {
      const rootfs = lab.rootfs()
      const { traces } = trap(lab, rootfs)
      const script = '[ -e /trace ] && /bin/busybox cat /trace; /bin/busybox true'
      const outcome = await lab.berthRun(option, '--rootfs', rootfs, '/bin/busybox', 'sh', '-c', script)
      expect(outcome).toMatchObject({ status: 0, stdout: '' })
      expect(traces.filter(existsSync)).toEqual([])
    })
})

describe('CVE-2022-1227: the list of processes', () => {
  test('comes from the kernel: a process can neither hide nor forge a line', async lab => {
    const script = 'exec -a "$(printf "x\\\\n  root 1 0 0 forged")" sleep 1000 & sleep 1000 & echo ready; wait'
    const output = await lab.start(lab.bundle({ args: ['sh', '-c', script] }))
    await untilFileHas(output, 'ready')
    const [id = ''] = (await lab.runtime('list', '-q')).stdout.split('\n')
    const pids = JSON.parse((await lab.runtime('ps', '--format', 'json', id)).stdout) as number[]
    expect(pids.length).toBeGreaterThanOrEqual(2)
    for (const pid of pids) expect(readFileSync(`/proc/${pid}/cgroup`, 'utf8')).toContain(id)
    const lines = (await lab.runtime('ps', id)).stdout.trimEnd().split('\n')
    expect(lines).toHaveLength(pids.length + 1)
  })
})

describe('CVE-2018-15664, CVE-2019-10152: what is left of a container', () => {
  test('is removed without following the links that it made', async lab => {
    const climb = ['../../../../../../../../../..', ''].map(up => `${up}${lab.canary.dir}`)
    const links = climb.map((target, index) => `ln -s ${target} /l${index}; ln -s ${target} /etc/l${index}`).join('; ')
    const script = `${links}; rm -rf /tmp; ln -s ${lab.canary.dir} /tmp; true`
    const rootfs = lab.rootfs()
    for (const name of ['ln', 'rm']) plantLink(join(rootfs, 'bin', name), 'busybox')
    for (const userns of ['auto', 'host'])
      expect(await lab.berthRun('--userns', userns, '--rootfs', rootfs, 'sh', '-c', script)).toMatchObject({
        status: 0,
      })
  })
})

/** `berth run` on Linux 6.1, where much of the newer mount API is missing: all of the defaults work there too. */

import { expect } from 'bun:test'
import { chownSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runSteps } from '../../src/host/helper.ts'
import { O_DIRECTORY, O_PATH } from '../../src/linux/open-flags.ts'
import { SlotTable } from '../../src/plan/slots.ts'
import { type Step, step } from '../../src/plan/step.ts'
import { expectNoLeaks, snapshotHost } from '../support/leak-check.ts'
import { testIf } from '../support/requirement.ts'
import { BERTH, berth, kernelFile, outcomeOf } from './berth.ts'

const inVm = testIf('vm', 'idmapped mounts')

/** Runs a shell command in a container of the host image. */
async function sh(command: string, ...options: readonly string[]) {
  return await berth('run', '--rm', ...options, 'host', 'sh', '-c', command)
}

inVm(
  'a container has the machine’s files with their owners, a copy of its own to write to, and leaves nothing',
  async () => {
    // The first container makes the cgroup below which all are.
    await sh('true')
    const before = snapshotHost(['/var/lib/berth/containers', '/run/berth'])
    const look =
      'stat -c %u:%g /etc /usr/bin/env; echo x > /etc/x && cat /etc/x; rm /etc/hostname 2>&1; ls -A /root /home; ls /etc/shadow'
    const { stdout, stderr } = await sh(look)
    expect(stdout).toStartWith('0:0\n0:0\nx\n')
    expect(stdout).toContain('Device or resource busy')
    expect(stderr).toContain("cannot access '/etc/shadow'")
    expect(statSync('/etc/x', { throwIfNoEntry: false })).toBeUndefined()
    await expectNoLeaks(before)
  },
)

inVm(
  'the launcher attaches layers in a mount namespace of its own, so that none appears in the host’s mount table',
  async () => {
    const { stdout } = await berth('explain', 'run', 'host')
    expect(stdout).toContain('unshare(CLONE_NEWNS)')
    expect(stdout).not.toContain('lowerdir+')
    const mountsBefore = kernelFile('/proc/self/mountinfo')
    await sh('true')
    expect(kernelFile('/proc/self/mountinfo')).toBe(mountsBefore)
  },
)

inVm('an overlay of 60 layers, which this kernel takes as one string of 255 bytes, shows all of them', async () => {
  const base = mkdtempSync('/root/berth-layers-')
  try {
    const slots = new SlotTable()
    const steps: Step[] = []
    const lowers = Array.from({ length: 60 }, (_, index) => {
      const path = join(base, String(index))
      mkdirSync(path)
      writeFileSync(join(path, `file${index}`), '')
      const slot = slots.allocate(path)
      steps.push(step('open', { path, flags: O_PATH | O_DIRECTORY, mode: 0, out: slot }, 'find a layer'))
      return slot
    })
    const out = slots.allocate('overlay')
    const overlay = { joined: 1, lowers, upper: null, work: null, options: [], attrs: 0, out }
    steps.push(step('mount_overlay', overlay, 'see the layers as one'))
    for (const index of [0, 30, 59])
      steps.push(step('read', { dir: out, path: `file${index}`, limit: 1 }, 'read a file of a layer'))
    expect((await runSteps(steps)).data).toHaveLength(3)
  } finally {
    rmSync(base, { recursive: true })
  }
})

inVm('a bind mount keeps the owners of its files on both sides, with and without a user namespace', async () => {
  const directory = mkdtempSync('/root/berth-bind-')
  try {
    writeFileSync(join(directory, 'file'), '')
    chownSync(join(directory, 'file'), 5, 6)
    for (const userns of ['auto', 'host']) {
      const command = `stat -c %u:%g /mnt/file; touch /mnt/${userns}; chown 7:8 /mnt/${userns}`
      const { stdout, stderr } = await sh(command, '--userns', userns, '-v', `${directory}:/mnt`)
      expect(stderr).toBe('')
      expect(stdout).toBe('5:6\n')
      const { uid, gid } = statSync(join(directory, userns))
      expect([uid, gid]).toEqual([7, 8])
    }
    const readonly = await sh('touch /mnt/file', '-v', `${directory}:/mnt:ro`)
    expect(readonly.stderr).toContain('Read-only file system')
  } finally {
    rmSync(directory, { recursive: true })
  }
})

inVm('a bind of a file system that this kernel can’t idmap is one error that names the ways out', async () => {
  mkdirSync('/dev/shm/berth-bind', { recursive: true })
  const { status, stderr } = await sh('true', '-v', '/dev/shm/berth-bind:/mnt')
  expect(status).toBe(125)
  expect(stderr).toContain('/dev/shm/berth-bind')
  expect(stderr).toContain('userns=host')
  expect(stderr.trimEnd().split('\n')).toHaveLength(1)
})

inVm('--read-only, --tmpfs and masked paths work without cloning of detached mounts', async () => {
  const command = [
    'touch /x; touch /usr/x; echo y > /tmp/y && cat /tmp/y; stat -f -c %T /tmp',
    'cat /proc/kcore /proc/keys; ls -A /sys/firmware; echo 1 > /proc/sys/kernel/panic',
  ].join('; ')
  const { stdout, stderr } = await sh(command, '--read-only', '--tmpfs', '/tmp:size=1m')
  expect(stdout).toBe('y\ntmpfs\n')
  for (const path of ['/x', '/usr/x']) expect(stderr).toContain(`'${path}': Read-only file system`)
  expect(stderr).toContain('/proc/sys/kernel/panic: Read-only file system')
})

inVm('--init reaps, -e, -w, -u, -h and exit statuses are as on newer kernels', async () => {
  const command = 'echo $FOO $PWD $(id -u) $(hostname) $(cat /proc/1/comm); exit 7'
  const options = ['--init', '-e', 'FOO=bar', '-w', '/usr', '-u', '1000', '-h', 'box']
  expect(await sh(command, ...options)).toMatchObject({ status: 7, stdout: 'bar /usr 1000 box init\n' })
  expect((await berth('run', '--rm', 'host', 'no-such-program')).status).toBe(127)
})

inVm('-it is a terminal', async () => {
  const command = [...BERTH, 'run', '--rm', '-it', 'host', 'sh', '-c', "'tty; stty size; test -t 0 && echo terminal'"]
  const script = ['script', '--quiet', '--return', '--command', `stty rows 33 cols 77; ${command.join(' ')}`]
  const { status, stdout } = await outcomeOf([...script, '/dev/null'])
  expect(stdout.replaceAll('\r', '')).toBe('/dev/pts/0\n33 77\nterminal\n')
  expect(status).toBe(0)
})

inVm('--security-opt turns off what it names, and nothing else', async () => {
  const command = 'grep -E "^(NoNewPrivs|Seccomp):" /proc/self/status; ls /proc/acpi | wc -l'
  const { stdout } = await sh(command)
  expect(stdout).toStartWith('NoNewPrivs:\t1\nSeccomp:\t2\n')
  const off = await sh(command, '--security-opt', 'seccomp=unconfined', '--security-opt', 'no-new-privileges=false')
  expect(off.stdout).toStartWith('NoNewPrivs:\t0\nSeccomp:\t0\n')
})

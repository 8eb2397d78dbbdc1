// Class H of the published escapes, as far as a runtime is concerned: what is written beside a config becomes a right.
import { describe, expect } from 'bun:test'
import { type BundleOptions, type Lab, securityTest } from './lab.ts'

const test = securityTest()

describe('CVE-2022-0811: a kernel setting that carries another one', () => {
  const smuggled: readonly (readonly [string, string])[] = [
    ['kernel.shm_rmid_forced', '1+kernel.core_pattern=|/evil'],
    ['kernel.shm_rmid_forced', '1\nkernel.core_pattern=|/evil'],
    ['kernel.shm_rmid_forced=1+kernel.core_pattern', '|/evil'],
    ['kernel.shm_rmid_forced+kernel.core_pattern', '|/evil'],
    ['kernel.shm_rmid_forced/../core_pattern', '|/evil'],
    ['net.ipv4/../../kernel/core_pattern', '|/evil'],
    ['net/../kernel/core_pattern', '|/evil'],
    ['net....kernel.core_pattern', '|/evil'],
    ['kernel.core_pattern', '|/evil'],
    ['kernel/core_pattern', '|/evil'],
    ['kernel.modprobe', '/evil'],
    ['vm.overcommit_memory', '1'],
    ['fs.suid_dumpable', '2'],
    ['kernel.hostname', 'evil'],
  ]

  for (const [key, value] of smuggled)
    test(`${JSON.stringify(`${key}=${value}`)} is refused`, async lab => {
      const { status, stdout } = await lab.run(lab.bundle({ args: ['id', '-u'], linux: { sysctl: { [key]: value } } }))
      const engine = await lab.berthRun('--sysctl', `${key}=${value}`, '--rootfs', lab.rootfs(), 'id', '-u')
      // The kernel takes "1" of "1+…" for no integer setting: EINVAL, an error too.
      for (const outcome of [{ status, stdout }, engine])
        expect({ failed: outcome.status > 0, stdout: outcome.stdout }).toEqual({ failed: true, stdout: '' })
    })
})

describe("CVE-2022-0532: a setting of a namespace that is the host's", () => {
  const settings: readonly (readonly [string, string, string])[] = [
    ['network', 'net.ipv4.ip_default_ttl', '65'],
    ['ipc', 'kernel.shm_rmid_forced', '1'],
  ]
  for (const [type, key, value] of settings) {
    test(`${key} is refused without a ${type} namespace`, async lab => {
      const kept = ['pid', 'network', 'ipc', 'uts', 'mount'].filter(each => each !== type)
      const namespaces = kept.map(each => ({ type: each as 'pid' }))
      const { status } = await lab.run(lab.bundle({ linux: { namespaces, sysctl: { [key]: value } } }))
      expect(status).toBeGreaterThan(0)
    })

    test(`${key} is refused with the host's ${type} namespace given by its path`, async lab => {
      const procName = type === 'network' ? 'net' : type
      const namespaces = ['pid', 'network', 'ipc', 'uts', 'mount'].map(each =>
        each === type ? { type: each as 'pid', path: `/proc/1/ns/${procName}` } : { type: each as 'pid' },
      )
      const before = await lab.command('cat', `/proc/sys/${key.replaceAll('.', '/')}`)
      const { status } = await lab.run(lab.bundle({ linux: { namespaces, sysctl: { [key]: value } } }))
      const after = await lab.command('cat', `/proc/sys/${key.replaceAll('.', '/')}`)
      if (before.stdout !== after.stdout) await lab.command('sysctl', '-qw', `${key}=${before.stdout.trim()}`)
      expect({ failed: status > 0, after: after.stdout }).toEqual({ failed: true, after: before.stdout })
    })
  }

  test('of the network is refused with --network host', async lab => {
    const options = ['--network', 'host', '--sysctl', 'net.ipv4.ip_default_ttl=65', '--rootfs', lab.rootfs()]
    expect((await lab.berthRun(...options, 'true')).status).toBe(125)
  })
})

describe('CVE-2024-3154, CVE-2023-6476, CVE-2026-94603: annotations', () => {
  /** Keys that some engine or runtime has taken for orders, each with what would be one. */
  const ORDERS: Readonly<Record<string, string>> = {
    'org.systemd.property.SuccessAction': "'poweroff'",
    'org.systemd.property.ExecStopPost': "[('/evil', ['/evil'], false)]",
    'org.systemd.property.DeviceAllow': "[('block-*', 'rwm')]",
    'io.podman.annotations.checkpoint.runtime.name': 'runc',
    'io.podman.annotations.checkpoint.runtime': 'true',
    'io.podman.annotations.privileged': 'TRUE',
    'io.podman.annotations.seccomp': 'unconfined',
    'io.podman.annotations.apparmor': 'unconfined',
    'io.podman.annotations.label': 'disable',
    'io.podman.annotations.userns': 'host',
    'io.podman.annotations.init': 'TRUE',
    'run.oci.keep_original_groups': '1',
    'run.oci.seccomp_fail_unknown_syscall': '0',
    'run.oci.seccomp.plugins': '/evil.so',
    'run.oci.seccomp_bpf_data': 'AAAA',
    'run.oci.seccomp.receiver': '/evil.sock',
    'run.oci.hooks.stdout': '/evil',
    'run.oci.hooks.stderr': '/evil',
    'run.oci.handler': 'krun',
    'run.oci.systemd.subgroup': '../..',
    'run.oci.systemd.force_cgroup_v1': '/sys/fs/cgroup',
    'run.oci.delegate-cgroup': 'all',
    'run.oci.mount_context_type': 'context',
    'run.oci.pidfd_receiver': '/evil.sock',
    'module.wasm.image/variant': 'compat',
    'io.kubernetes.cri-o.Devices': '/dev/sda',
    'io.kubernetes.cri-o.userns-mode': 'host',
    'io.kubernetes.cri-o.UnifiedCgroup.c': 'memory.max=max',
    'cdi.k8s.io/evil': 'vendor.com/device=all',
    'com.docker.compose.file': '../../canary',
    'run.berth.privileged': 'true',
  }
  const WHAT = [
    'sh',
    '-c',
    'cat /proc/self/uid_map; grep -E "^(Uid|Gid|Groups|Cap|NoNew|Seccomp)" /proc/self/status; ls /dev; sed "s/^[0-9]* [0-9]* [^ ]* //" /proc/mounts',
  ]

  async function told(lab: Lab, options: BundleOptions): Promise<string> {
    const { status, stdout, stderr } = await lab.run(lab.bundle({ args: WHAT, ...options }))
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    return stdout
  }

  test('change nothing that a container can see of its isolation', async lab => {
    const on = lab.rootfs()
    expect(await told(lab, { on, annotations: ORDERS })).toBe(await told(lab, { on }))
  })

  test('change not a step of the plan of a container of the engine, nor do labels', async lab => {
    const rootfs = lab.rootfs()
    const plan = async (...options: readonly string[]): Promise<string> => {
      const outcome = await lab.command(...lab.engine('explain', 'run'), ...options, '--rootfs', rootfs, 'true')
      expect(outcome.status).toBe(0)
      // What differs from one container to the next: its id.
      return outcome.stdout.replaceAll(/[0-9a-f]{12,64}/g, 'ID').replaceAll(/\b\d{7,10}\b/g, 'RANGE')
    }
    const plain = await plan()
    expect(plain).toContain('execve')
    for (const kind of ['--annotation', '--label'])
      expect(await plan(...Object.entries(ORDERS).flatMap(([key, value]) => [kind, `${key}=${value}`]))).toBe(plain)
  })
})
